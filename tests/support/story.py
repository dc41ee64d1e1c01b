"""A story of freshness: small code locations, and what they materialize in each chapter."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from support.dagster import ROOT, CodeLocation, Dagster, free_port
from support.versions import python_with
from support.waiting import wait_until

_UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
TEMPLATE = Path(__file__).with_name("quick_location.py")


@dataclass(frozen=True)
class Made:
    """One materialization in the event log. Times are in epoch seconds, `lag` is in seconds."""

    key: str
    id: int
    at: float
    run_id: str
    data_time: float | None
    lag: float | None
    newest: float
    """The newest row in the asset's table: when its data was read at the source."""
    inputs: Mapping[str, int]
    """The versions that it was made from: event log id by upstream key."""


@dataclass
class Story:
    """The beginning of each chapter (epoch seconds), and all materializations, oldest first."""

    chapters: dict[str, float] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)

    def of(self, key: str, begin: str, end: str | None = None) -> list[Made]:
        """Return the materializations of `key` since one chapter began and before another did.

        The oldest is first. Without `end`, the list goes on to the newest.
        """
        until = self.chapters[end] if end else float("inf")
        return [m for m in self.made if m.key == key and self.chapters[begin] <= m.at < until]

    def as_text(self) -> str:
        """Return the story as text, a line for each event.

        A line has the seconds since the beginning and how old the data was.
        """
        begin = min(self.chapters.values())
        lines = [(at, f"-- {name}") for name, at in self.chapters.items()]
        lines += [(m.at, f"{m.key}, {m.at - m.newest:.1f} s old, {m.run_id}") for m in self.made]
        return "\n".join(f"{at - begin:7.1f} {text}" for at, text in sorted(lines))


class Stage:
    """Code locations with one instance, each with a Dagster version of its own."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], deps: Mapping[str, list[str]]
    ) -> None:
        self.folder = folder
        self.story = Story()
        self._deps = deps
        shutil.copy(ROOT / "dagster.yaml", folder / "dagster.yaml")
        self._locations: list[CodeLocation] = []
        self.environment = environment

    def add(self, location: str, dagster: str, assets: Mapping[str, float | None]) -> None:
        """Add a location with a version of Dagster.

        `assets` has the maximum lag of each asset, in minutes; None for no policy.
        """
        file = self.folder / f"{location}.py"
        shutil.copy(TEMPLATE, file)
        self.write(location, assets)
        self._locations.append(CodeLocation(location, python_with(dagster), file, free_port()))

    def write(self, location: str, assets: Mapping[str, float | None]) -> None:
        """Write the assets that the location has when it is loaded the next time."""
        rows = [
            {"key": key, "deps": self._deps[key], "minutes": minutes}
            for key, minutes in assets.items()
        ]
        content = json.dumps({"location": location, "assets": rows})
        (self.folder / f"{location}.json").write_text(content)

    def start_dagster(self) -> Dagster:
        dagster = Dagster(self._locations, home=self.folder, env=self.environment)
        dagster.start()
        return dagster

    def chapter(self, name: str) -> None:
        self.story.chapters[name] = time.time()

    def await_made(self, key: str, count: int, begin: str, *, seconds: float) -> None:
        """Wait until `key` has been made `count` times since the chapter began."""

        def is_there() -> bool:
            self.read()
            return len(self.story.of(key, begin)) >= count

        try:
            wait_until(is_there, f"{key} made {count} times in {begin!r}", seconds=seconds, every=2)
        except TimeoutError as error:
            raise TimeoutError(f"{error}. So far:\n{self.story.as_text()}") from error

    def await_rest(self, key: str, *, seconds: float) -> None:
        """Wait until no run is going on and `key` is made from the newest version of each input."""
        active = dg.RunsFilter(statuses=[*_UNFINISHED])

        def is_at_rest() -> bool:
            with dg.DagsterInstance.from_config(str(self.folder)) as instance:
                if instance.get_runs(active, limit=1):
                    return False
            self.read()
            newest = {made.key: made for made in self.story.made}
            return all(newest[key].inputs[name] == newest[name].id for name in self._deps[key])

        wait_until(is_at_rest, f"{key} is made from all that there is", seconds=seconds, every=1)

    def await_age(self, key: str, seconds: float) -> None:
        """Wait until the newest row of `key` is older than `seconds`."""

        def is_old() -> bool:
            self.read()
            made = [made for made in self.story.made if made.key == key]
            return time.time() - made[-1].newest > seconds

        wait_until(is_old, f"{key} is {seconds:.0f} s old", seconds=seconds + 60, every=2)

    def read(self) -> None:
        """Read all materializations from the event log again."""
        with dg.DagsterInstance.from_config(str(self.folder)) as instance:
            made = [made for key in self._deps for made in _materializations(instance, key)]
        self.story.made = sorted(made, key=lambda made: made.id)


def _materializations(instance: dg.DagsterInstance, key: str) -> list[Made]:
    asset = dg.AssetKey(key.split("/"))
    records = instance.fetch_materializations(asset, limit=1000).records
    found = []
    for record in records:
        event = record.asset_materialization
        assert event is not None
        values = {name: entry.value for name, entry in event.metadata.items()}
        prefix = "dagster/input_event_pointer/"
        inputs = {
            name[len(prefix) :]: int(value)
            for name, value in (event.tags or {}).items()
            if name.startswith(prefix) and value != "NULL"
        }
        found.append(
            Made(
                key=key,
                id=record.storage_id,
                at=record.timestamp,
                run_id=record.run_id,
                data_time=values.get("freshline/data_time"),
                lag=values.get("freshline/lag_seconds"),
                newest=values["newest"],
                inputs=inputs,
            )
        )
    return found
