"""examples/partitions, for real: ticks request the right days, and runs make them.

The clock that freshline and Dagster read is set forward, to just before and after a midnight.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from freshline.model import TargetPlan
from freshline.sensor.outlook import Observer
from ticking import Workspace

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "partitions"
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def day(days: int) -> str:
    """Return the partition of today plus `days`."""
    return f"{TODAY + timedelta(days):%Y-%m-%d}"


class Example(Workspace):
    """The workspace of the example, in a folder of its own."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        super().__init__(instance)
        self.folder = folder
        for entry in yaml.safe_load((folder / "workspace.yaml").read_text())["load_from"]:
            file = entry["python_file"]
            definitions = _loaded(folder / file["relative_path"])
            self._definitions[file["location_name"]] = definitions
            self.locations[file["location_name"]] = definitions.get_repository_def()

    def settle(self) -> list[tuple[str, str | None]]:
        """Tick and run until nothing is requested; return what was: assets and partitions."""
        requested: list[tuple[str, str | None]] = []
        for name in self.locations:
            self.tick(name)  # publishes its contract, or that it is there
        for _ in range(10):
            results = {name: self.tick(name) for name in self.locations}
            if not any(result.run_requests for result in results.values()):
                return requested
            for name, result in results.items():
                requested += [
                    (key.to_user_string(), request.partition_key)
                    for request in result.run_requests or ()
                    for key in request.asset_selection or ()
                ]
                self.run(name, result)
        raise AssertionError("it does not come to rest")

    def target(self, key: str) -> TargetPlan:
        return Observer().look(self.instance, time.time()).plan.targets[key]

    @contextmanager
    def at(self, days: int, after_midnight: timedelta) -> Iterator[None]:
        """Set the clock to a time after the midnight in so many days."""
        begin = TODAY + timedelta(days) + after_midnight
        ahead = begin.timestamp() - time.time()
        seconds, nanoseconds = time.time, time.time_ns
        with pytest.MonkeyPatch.context() as clock:
            clock.setattr(time, "time", lambda: seconds() + ahead)
            clock.setattr(time, "time_ns", lambda: nanoseconds() + int(ahead * 1e9))
            with dg.partition_loading_context(effective_dt=begin):
                yield


def _loaded(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.defs


@pytest.fixture
def example(tmp_path: Path, memory: dg.DagsterInstance) -> Example:
    folder = tmp_path / "partitions"
    shutil.copytree(EXAMPLE, folder)
    return Example(memory, folder)


def test_the_days_that_the_policies_need_are_made_once_in_order(example: Example) -> None:
    requested = example.settle()
    targets = [example.target(key) for key in ("mart/daily_revenue", "mart/report")]
    days = [part for key, part in requested if key == "raw/orders"]

    assert day(-1) == days[-1]
    assert sorted(set(days)) == days
    assert {("mart/daily_revenue", part) for part in days} <= set(requested)
    assert len(set(requested)) == len(requested)
    assert ["fresh", "fresh"] == [target.status.value for target in targets]
    lines = (example.folder / "data" / "report.csv").read_text().splitlines()
    assert days == [line.partition(",")[0] for line in lines]


def test_a_day_is_made_once_it_is_over(example: Example) -> None:
    example.settle()
    with example.at(1, timedelta(minutes=-1)):
        before = example.settle()
        yesterdays = example.target("mart/daily_revenue").lag
    with example.at(1, timedelta(minutes=5)):
        still = example.target("mart/daily_revenue").lag
        after = example.settle()
        todays = example.target("mart/daily_revenue").lag
        report = example.target("mart/report").lag

    assert [] == before
    assert 86_400 - 60 == pytest.approx(yesterdays, abs=30)
    assert 86_400 + 300 == pytest.approx(still, abs=30)
    made = [("raw/orders", day(0)), ("mart/daily_revenue", day(0)), ("mart/report", None)]
    assert made == after
    assert [300, 300] == pytest.approx([todays, report], abs=60)


def test_a_day_that_cannot_be_made_is_named_and_makes_the_report_late(example: Example) -> None:
    example.settle()
    in_the_way = example.folder / "data" / "orders" / f"{day(0)}.csv"
    in_the_way.mkdir()
    with example.at(1, timedelta(hours=9, minutes=1)):
        example.settle()
        report = example.target("mart/report")

    assert report.status.value in ("blocked", "late")
    assert report.blame
    assert ("loader", "raw/orders") == (report.blame.location, report.blame.asset)
    assert day(0) in report.reason
