"""What sensors write of their targets, and how it is read without Dagster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from conftest import write_instance
from freshline.overview import status_of
from freshline.sensor.outlook import Observer
from freshline.status.document import Status
from freshline.status.quick import quick_status
from freshline.status.rows import ROW_PREFIX
from sqlalchemy.exc import ProgrammingError
from working_day import JOIN, WorkingDay, working_day


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def day(home: Path) -> Iterator[WorkingDay]:
    with working_day(home) as day:
        yield day


def quickly(day: WorkingDay, home: Path) -> Status | None:
    with day.stopped():
        return quick_status(home)


def without_times(status: Status | None) -> dict[str, Any]:
    """Leave out when the plan was made, and when each location was last heard of."""
    assert status is not None
    found = status.model_dump(exclude={"planned_at"})
    for location in found["locations"]:
        del location["last_heard_of"]
    for target in found["targets"]:
        target["lag_seconds"] = round(target["lag_seconds"], 3)
    return found


class TestQuickStatus:
    def test_it_is_what_a_look_at_the_history_says(self, day: WorkingDay, home: Path) -> None:
        day.until("12:02:00")
        fresh = without_times(quickly(day, home)), without_times(look(day))
        day.is_closed = True
        day.until("12:08:10").until_requested().make_runs()
        day.tick()
        failing = without_times(quickly(day, home)), without_times(look(day))

        assert fresh[0] == fresh[1]
        assert failing[0] == failing[1]

    def test_the_lag_is_that_of_now(self, day: WorkingDay, home: Path) -> None:
        day.until("12:02:00").sleep_until("12:02:30")
        status = quickly(day, home)

        assert status is not None
        assert [145.0] == [target.lag_seconds for target in status.targets]
        assert status.planned_at <= status.at - 30.0

    @pytest.mark.parametrize(
        "happens",
        [
            lambda day: day.sleep_until("12:04:00"),
            lambda day: day.until("12:03:45", without="ingestion"),
        ],
        ids=["no sensor ticks", "one sensor does not tick"],
    )
    def test_it_is_not_told_by_what_is_old(self, day: WorkingDay, home: Path, happens: Any) -> None:
        day.until("12:02:00")
        happens(day)

        assert quickly(day, home) is None

    def test_it_is_not_told_when_a_promise_may_be_broken_since(
        self, day: WorkingDay, home: Path
    ) -> None:
        day.until("12:02:00")
        day.is_closed = True
        day.until("12:10:04")
        before = quickly(day, home)
        day.sleep_until("12:10:06")

        assert before is not None
        assert quickly(day, home) is None

    def test_it_is_not_told_while_locations_do_not_know_each_other(
        self, day: WorkingDay, home: Path
    ) -> None:
        first = quickly(day.tick(), home)
        second = quickly(day.tick(), home)

        assert first is None
        assert second is not None

    def test_another_version_of_it_is_not_read(self, day: WorkingDay, home: Path) -> None:
        day.until("12:02:00")
        (key, text), *_ = rows_of(day).items()
        for other in (json.dumps(json.loads(text) | {"schema_version": 99}), "{}"):
            day.instance.daemon_cursor_storage.set_cursor_values({key: other})

            assert quickly(day, home) is None

    @pytest.mark.parametrize(
        "settings",
        [
            "storage: {mysql: {mysql_url: nothing}}",
            "run_storage: {module: a, class: B}",
            "storage: {postgres: {postgres_url: {env: NOT_SET}}}",
            "storage: {postgres: {postgres_url: 'postgresql+psycopg2://a@127.0.0.1:1/b'}}",
            "storage: {",
            "[]",
        ],
    )
    def test_it_is_not_told_of_a_storage_that_cannot_be_read(
        self, tmp_path: Path, settings: str
    ) -> None:
        (tmp_path / "dagster.yaml").write_text(settings)

        assert quick_status(tmp_path) is None

    def test_nothing_is_made_where_there_is_no_instance(self, tmp_path: Path) -> None:
        (tmp_path / "dagster.yaml").write_text("")

        assert quick_status(tmp_path) is None
        assert ["dagster.yaml"] == [path.name for path in tmp_path.iterdir()]

    def test_it_reads_postgres(self, postgres_server: Any, tmp_path: Path) -> None:
        with postgres_server.new_database() as database:
            write_instance(tmp_path, database)
            settings = yaml.safe_load((tmp_path / "dagster.yaml").read_text())
            with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
                day = WorkingDay(instance)
                day.tick().tick()
                found = quickly(day, tmp_path)

        assert "postgres" in settings["storage"]
        assert found is not None
        assert [JOIN] == [target.asset for target in found.targets]
        assert not found.daemon.silent

    def test_the_command_loads_little_for_it(self, day: WorkingDay, home: Path) -> None:
        """It is a second at most. Dagster alone takes longer, plans and contracts half of that."""
        day.until("12:02:00")
        program = (
            "import sys; from unittest.mock import patch; from freshline.cli import app\n"
            f"with patch('time.time', return_value={day.now}):\n"
            "    try: app(['status'])\n"
            "    except SystemExit as end: assert end.code == 0\n"
            "slow = {'dagster', 'freshline.contract', 'freshline.planner'} & set(sys.modules)\n"
            "assert not slow, slow"
        )
        environment = {**os.environ, "DAGSTER_HOME": str(home)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )

        assert (0, "") == (done.returncode, done.stderr)
        assert JOIN in done.stdout


class TestWriting:
    def test_a_location_writes_its_own_targets(self, day: WorkingDay) -> None:
        day.until("12:02:00")
        targets = {
            name: [target["asset"] for target in json.loads(text)["targets"]]
            for name, text in rows_of(day).items()
        }

        assert {
            f"{ROW_PREFIX}ingestion": [],
            f"{ROW_PREFIX}analytics_core": [],
            f"{ROW_PREFIX}analytics_marts": [JOIN],
        } == targets

    def test_it_is_written_again_once_a_minute_while_nothing_happens(self, day: WorkingDay) -> None:
        day.until("12:02:00")
        times = set()
        while day.now < day.started + 300:
            day.tick()
            times |= {json.loads(text)["at"] for text in rows_of(day, "ingestion").values()}
            day.now += 5.0
        gaps = [later - one for one, later in pairwise(sorted(times))]

        assert 3 <= len(gaps)
        assert 60.0 >= max(gaps)

    def test_a_location_without_the_right_to_write_ticks_and_says_so(
        self, day: WorkingDay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied(*_: Any) -> None:
            raise ProgrammingError("insert into kvs", {}, Exception("permission denied for kvs"))

        monkeypatch.setattr("freshline.sensor.write_row", denied)
        day.until("12:02:00")
        said = day.message("analytics_marts")

        assert {} == rows_of(day)
        assert "so freshline status takes longer: (builtins.Exception) permission denied" in said


def look(day: WorkingDay) -> Status:
    with day.stopped():
        return status_of(Observer().look(day.instance, day.now), day.instance)


def rows_of(day: WorkingDay, *locations: str) -> dict[str, str]:
    names = locations or ("ingestion", "analytics_core", "analytics_marts")
    keys = {ROW_PREFIX + name for name in names}
    return dict(day.instance.daemon_cursor_storage.get_cursor_values(keys))
