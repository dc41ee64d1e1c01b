"""An hour of the real workspace: do the policies hold, and what does that cost?

``.venv/bin/python bench/soak.py`` starts what ``make dev`` starts (Postgres, the GitHub stand-in
with its live stream of stars, the embedded Airbyte with the real connector, ``dagster dev`` over
the three code locations) on data of its own in ``.local/soak``, lets it run, and prints the
section "Does it hold?" of ``docs/freshness.md``; with ``--write`` it puts that in place, and the
picture.

Lag is measured from two sources: from the event log, as the age of the data of each mart's current
version at all times; and from the warehouse's rows every five seconds, as the age of the oldest
star that the mart lacks. Fails when either of them exceeds a policy.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import nan
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
from freshline.history.materialized import stated_data_time

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from own_stack import connect_to_warehouse, dagster_dev, log_of, run_inside  # noqa: E402 - found from here on

STATE = ROOT / ".local" / "soak"
PAGE = ROOT / "docs" / "freshness.md"
PICTURE = ROOT / "docs" / "soak.png"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"

ROOT_ASSET = "postgres/stargazers"
ASSETS = (
    ROOT_ASSET,
    "postgres/stargazers_user",
    "mart/mart_gh_stargazer",
    "mart/mart_gh_cumulative",
    "mart/mart_gh_join",
)
POLICIES = {"mart/mart_gh_cumulative": 300.0, "mart/mart_gh_join": 600.0}
COUNTS = {
    "mart/mart_gh_cumulative": "select sum(stars) from mart.mart_gh_cumulative",
    "mart/mart_gh_join": "select sum(stars) from mart.mart_gh_join",
}
WARM_UP = 300.0  # seconds after every asset exists, in which the first durations are learnt
FIRST_PASS_TIMEOUT = 420.0  # seconds in which every asset must be made once
SAMPLE_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class Made:
    at: float
    data_time: float


@dataclass(frozen=True)
class Sample:
    """How many stars a mart held at a time."""

    at: float
    stars: int


@dataclass(frozen=True)
class Soak:
    """What was seen between `begin` and `end` (epoch seconds)."""

    begin: float
    end: float
    made: dict[str, list[Made]]
    samples: dict[str, list[Sample]]
    starred: Sequence[float]
    """When each star was given, oldest first."""
    runs: int
    failed: int
    busy: float
    """The share of time in which the cores were busy."""

    @property
    def hours(self) -> float:
        return (self.end - self.begin) / 3600

    def rate(self, *keys: str) -> float:
        """Return the materializations of `keys` an hour."""
        times = [made.at for key in keys for made in self.made[key]]
        return sum(self.begin <= at < self.end for at in times) / self.hours

    def spans(self, key: str) -> list[tuple[float, float, float]]:
        """Return from when until when each version was the current one, and its data time."""
        ends = [*(made.at for made in self.made[key][1:]), self.end]
        return [
            (max(made.at, self.begin), end, made.data_time)
            for made, end in zip(self.made[key], ends, strict=True)
            if self.begin < end <= self.end
        ]

    def late(self, key: str, maximum: float) -> float:
        """Return the share of time in which the lag was above `maximum` seconds."""
        seconds = sum(
            max(0.0, until - max(since, data_time + maximum))
            for since, until, data_time in self.spans(key)
        )
        return seconds / (self.end - self.begin)

    def missing(self, key: str) -> list[tuple[float, float]]:
        """Return, for each sample, its time and the age of the oldest star that the mart lacked."""
        return [
            (sample.at, max(0.0, sample.at - self.starred[sample.stars]))
            if sample.stars < len(self.starred)
            else (sample.at, 0.0)
            for sample in self.samples[key]
            if self.begin <= sample.at <= self.end
        ]


# --- running ------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="after the warm-up")
    parser.add_argument("--write", action="store_true", help="into docs/, with the picture")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return soak(arguments.minutes * 60, write=arguments.write)
    return run_inside(STATE, [sys.executable, __file__, "--inside", *sys.argv[1:]])


def soak(seconds: float, *, write: bool) -> int:
    with dagster_dev(STATE) as dagster, dg.DagsterInstance.get() as instance:
        await_first_pass(instance, dagster)
        wait(WARM_UP, dagster)
        begin, spent = time.time(), cpu_times()
        samples = take_samples(begin + seconds, dagster)
        end = time.time()
        found = Soak(
            begin=begin,
            end=end,
            made={key: materializations(instance, key) for key in ASSETS},
            samples=samples,
            starred=stars(),
            runs=len(runs(instance, begin, end)),
            failed=len(runs(instance, begin, end, dg.DagsterRunStatus.FAILURE)),
            busy=busy_share(spent, cpu_times()),
        )
    text = section(found)
    print(text)
    if write:
        draw(found)
        old = PAGE.read_text()
        PAGE.write_text(f"{old.partition(BEGIN)[0]}{BEGIN}\n{text}\n{END}{old.partition(END)[2]}")
    held = all(
        found.late(key, maximum) == 0.0 and max(lag for _, lag in found.missing(key)) <= maximum
        for key, maximum in POLICIES.items()
    )
    return 0 if held and not found.failed else 1


def await_first_pass(instance: dg.DagsterInstance, dagster: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + FIRST_PASS_TIMEOUT
    while not all(materializations(instance, key) for key in ASSETS):
        if time.monotonic() > deadline:
            sys.exit(f"soak: no first pass within {FIRST_PASS_TIMEOUT:.0f} s; see {log_of(STATE)}")
        wait(1.0, dagster)


def wait(seconds: float, dagster: subprocess.Popen[bytes]) -> None:
    try:
        dagster.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    sys.exit(f"soak: dagster dev ended; see {log_of(STATE)}")


def take_samples(end: float, dagster: subprocess.Popen[bytes]) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {key: [] for key in COUNTS}
    with connect_to_warehouse() as warehouse:
        while time.time() < end:
            for key, query in COUNTS.items():
                at = time.time()
                row = warehouse.execute(query).fetchone()
                samples[key].append(Sample(at, int(row[0]) if row else 0))
            wait(SAMPLE_EVERY, dagster)
    return samples


def materializations(instance: dg.DagsterInstance, key: str) -> list[Made]:
    """Return the materializations of `key`, oldest first; without a data time, it is NaN."""
    records = instance.fetch_materializations(dg.AssetKey(key.split("/")), limit=10_000).records
    found = []
    for record in reversed(records):
        event = record.asset_materialization
        data_time = stated_data_time(event.metadata) if event else None
        found.append(Made(record.timestamp, nan if data_time is None else data_time))
    return found


def runs(
    instance: dg.DagsterInstance, begin: float, end: float, *statuses: dg.DagsterRunStatus
) -> Sequence[Any]:
    records = instance.get_run_records(dg.RunsFilter(statuses=list(statuses)) if statuses else None)
    return [record for record in records if begin <= record.create_timestamp.timestamp() < end]


def stars() -> list[float]:
    """Return when each star was given, oldest first, as the source lists them."""
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/stargazers"
    headers = {
        "Accept": "application/vnd.github.star+json",
        "Authorization": f"token {os.environ['GITHUB_TOKEN']}",
    }
    found: list[float] = []
    page: str | None = f"{url}?per_page=100"
    with httpx.Client(headers=headers) as client:
        while page:
            answer = client.get(page).raise_for_status()
            found += [seconds_of(star["starred_at"]) for star in answer.json()]
            page = answer.links.get("next", {}).get("url")
    return sorted(found)


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def cpu_times() -> list[int]:
    return [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def busy_share(before: list[int], after: list[int]) -> float:
    spent = [late - early for early, late in zip(before, after, strict=True)]
    idle = spent[3] + spent[4]
    return 1 - idle / sum(spent[:8])


# --- the report ---------------------------------------------------------------------------


def section(found: Soak) -> str:
    summary = (
        f"{found.hours * 60:.0f} minutes after {WARM_UP / 60:.0f} minutes of warm-up: "
        f"{found.runs} runs, {found.failed} failed; {found.rate(ROOT_ASSET):.1f} syncs and "
        f"{found.rate(*ASSETS):.0f} materializations an hour; the cores were busy for "
        f"{found.busy:.0%} of the time."
    )
    columns = "mart | at most behind | longest lag | time late | longest that a star was missing"
    lines = [
        summary,
        "",
        f"| {columns} | made an hour |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, maximum in POLICIES.items():
        longest = max(until - data_time for _, until, data_time in found.spans(key))
        missing = max(lag for _, lag in found.missing(key))
        lines.append(
            f"| {key} | {maximum:.0f} s | {longest:.0f} s | {found.late(key, maximum):.2%} "
            f"| {missing:.0f} s | {found.rate(key):.1f} |"
        )
    return "\n".join(lines)


def draw(found: Soak) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(POLICIES), sharex=True, figsize=(10, 5), layout="constrained")
    for axis, (key, maximum) in zip(axes, POLICIES.items(), strict=True):
        ages = [
            (at, at - data_time)
            for since, until, data_time in found.spans(key)
            for at in (since, until)
        ]
        line(axis, found, ages, "lag of its current version")
        line(axis, found, found.missing(key), "age of the oldest star that it lacks")
        axis.axhline(maximum / 60, color="tab:red", linewidth=1, label="the most that is allowed")
        axis.set_title(f"{key}: at most {maximum / 60:.0f} minutes behind", loc="left")
        axis.set_ylabel("minutes")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(loc="lower right", fontsize="small")
    axes[-1].set_xlabel("minutes since the end of the warm-up")
    figure.savefig(PICTURE, dpi=110)


def line(axis: Any, found: Soak, points: Sequence[tuple[float, float]], label: str) -> None:
    axis.plot(
        [(at - found.begin) / 60 for at, _ in points],
        [age / 60 for _, age in points],
        linewidth=1,
        label=label,
    )


if __name__ == "__main__":
    sys.exit(main())
