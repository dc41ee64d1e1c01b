"""A night of the real workspace in which no star comes: what does it cost, and do policies hold?

``.venv/bin/python bench/quiet.py`` starts what ``bench/soak.py`` starts, with quiet hours all day
(``DEVSTACK_QUIET``), lets it run, and prints what the event log says: syncs, runs of dbt, how late
each mart was. With ``--write`` it puts that into ``bench/README.md``. Fails if dbt ran at all after
the warm-up, if a mart was late, or if a run failed.

The data of a mart are those of the sync that it was made from. As long as the syncs after that one
left the table as it was (they have the same data version), they are also the data of these syncs.
So a mart's lag is the time since the last of them began.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from freshline.history.materialized import stated_data_time
from freshline.names import DATA_VERSION

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from own_stack import dagster_dev, run_inside  # noqa: E402 - found from here on
from soak import (  # noqa: E402 - it needs tools/ too
    POLICIES,
    ROOT_ASSET,
    STATE,
    await_first_pass,
    busy_share,
    cpu_times,
    runs,
    wait,
)

WARM_UP = 300.0  # seconds after every asset exists: the first cycle, and the first durations
PAGE = ROOT / "bench" / "README.md"
BEGIN, END = "<!-- quiet: begin -->", "<!-- quiet: end -->"


@dataclass(frozen=True)
class Made:
    """A version of an asset. Times are in epoch seconds."""

    at: float
    data_time: float
    data_version: str


@dataclass(frozen=True)
class Night:
    """What was seen between `begin` and `end` (epoch seconds)."""

    begin: float
    end: float
    syncs: Sequence[Made]
    """All versions of the root, oldest first; so too for each mart."""
    marts: dict[str, Sequence[Made]]
    runs: int
    dbt_runs: int
    failed: int
    busy: float
    """The share of time in which the cores were busy."""

    @property
    def hours(self) -> float:
        return (self.end - self.begin) / 3600

    def during(self, versions: Sequence[Made]) -> int:
        """Return how many of these versions were made in the night."""
        return sum(self.begin <= made.at < self.end for made in versions)

    def unchanged(self) -> int:
        """Return how many syncs of the night left the table as it was."""
        pairs = zip(self.syncs, self.syncs[1:], strict=False)
        same = [later for earlier, later in pairs if earlier.data_version == later.data_version]
        return self.during(same)

    def spans(self, key: str) -> Iterator[tuple[float, float, float]]:
        """Yield from when until when a mart had which data time."""
        versions = self.marts[key]
        for number, made in enumerate(versions):
            end = versions[number + 1].at if number + 1 < len(versions) else self.end
            steps = [(made.at, made.data_time), *self._seen_later(made)]
            for place, (since, data_time) in enumerate(steps):
                until = steps[place + 1][0] if place + 1 < len(steps) else end
                since, until = max(since, self.begin), min(until, end)
                if since < until:
                    yield since, until, data_time

    def _seen_later(self, made: Made) -> Iterator[tuple[float, float]]:
        """Yield when which data time came to hold for a version of a mart without a run."""
        read = [sync for sync in self.syncs if sync.data_time <= made.data_time + 0.001]
        for sync in self.syncs[len(read) :]:
            if not read or sync.data_version != read[-1].data_version:
                return
            yield max(sync.at, made.at), sync.data_time

    def late(self, key: str, maximum: float) -> float:
        """Return the share of time in which the lag was above `maximum` seconds."""
        seconds = sum(
            max(0.0, until - max(since, data_time + maximum))
            for since, until, data_time in self.spans(key)
        )
        return seconds / (self.end - self.begin)

    def longest_lag(self, key: str) -> float:
        """Return the longest lag in seconds."""
        return max(until - data_time for _, until, data_time in self.spans(key))


# --- running ------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="after the warm-up")
    parser.add_argument("--write", action="store_true", help="into bench/README.md")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return watch(arguments.minutes * 60, write=arguments.write)
    os.environ.pop("DEVSTACK_STARS", None)
    os.environ["DEVSTACK_QUIET"] = "00:00-24:00"
    return run_inside(STATE, [sys.executable, __file__, "--inside", *sys.argv[1:]])


def watch(seconds: float, *, write: bool) -> int:
    with dagster_dev(STATE) as dagster, dg.DagsterInstance.get() as instance:
        night = observe(instance, dagster, seconds)
    text = section(night)
    print(text)
    if write:
        old = PAGE.read_text()
        PAGE.write_text(f"{old.partition(BEGIN)[0]}{BEGIN}\n{text}\n{END}{old.partition(END)[2]}")
    late = any(night.late(key, maximum) > 0.0 for key, maximum in POLICIES.items())
    return 1 if night.dbt_runs or night.failed or late else 0


def observe(
    instance: dg.DagsterInstance, dagster: subprocess.Popen[bytes], seconds: float
) -> Night:
    await_first_pass(instance, dagster)
    wait(WARM_UP, dagster)
    begin, spent = time.time(), cpu_times()
    wait(seconds, dagster)
    end = time.time()
    all_runs = runs(instance, begin, end)
    return Night(
        begin=begin,
        end=end,
        syncs=versions(instance, ROOT_ASSET),
        marts={key: versions(instance, key) for key in POLICIES},
        runs=len(all_runs),
        dbt_runs=sum(makes_a_mart(record.dagster_run) for record in all_runs),
        failed=len(runs(instance, begin, end, dg.DagsterRunStatus.FAILURE)),
        busy=busy_share(spent, cpu_times()),
    )


def versions(instance: dg.DagsterInstance, key: str) -> list[Made]:
    """Return the versions of an asset that state a data time, oldest first."""
    records = instance.fetch_materializations(dg.AssetKey(key.split("/")), limit=10_000).records
    found = []
    for record in reversed(records):
        event = record.asset_materialization
        data_time = stated_data_time(event.metadata) if event else None
        if event is not None and data_time is not None:
            version = (event.tags or {}).get(DATA_VERSION, "")
            found.append(Made(record.timestamp, data_time, version))
    return found


def makes_a_mart(run: Any) -> bool:
    return any(key.path[0] == "mart" for key in run.asset_selection or ())


# --- the report ---------------------------------------------------------------------------


def section(night: Night) -> str:
    summary = (
        f"{night.hours * 60:.0f} minutes after {WARM_UP / 60:.0f} minutes of warm-up, without a "
        f"star: {night.during(night.syncs)} syncs, of which {night.unchanged()} left the table as "
        f"it was; {night.dbt_runs} runs of dbt; {night.runs} runs in all, {night.failed} failed; "
        f"the cores were busy for {night.busy:.0%} of the time."
    )
    lines = [
        summary,
        "",
        "| mart | at most behind | longest lag | time late | made |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for key, maximum in POLICIES.items():
        lines.append(
            f"| {key} | {maximum:.0f} s | {night.longest_lag(key):.0f} s "
            f"| {night.late(key, maximum):.2%} | {night.during(night.marts[key])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
