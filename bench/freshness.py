"""What freshness costs, and whether it holds: freshline next to cron and Dagster's conditions.

Simulated days on a virtual clock, one hour of warm-up first, lag sampled every second. Exits
with status 1 when freshline misses a figure that it owes. Run it with

    .venv/bin/python bench/freshness.py            # some minutes; --hours 4 --seeds 1: a look
    .venv/bin/python bench/freshness.py --write    # and puts the tables into bench/README.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from statistics import mean

from freshline.model import Asset, Graph
from freshline.policy import MaxLag
from freshline.simulate import ByPlan, Duration, Scenario, Scheduler, World, figures

WARM_UP = 3600.0
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- freshness: begin -->", "<!-- freshness: end -->"
PHASES = (0.0, 1.7, 3.2, 0.9, 4.1, 2.4)
"""Sensors of different locations do not tick at the same moment."""


# --- graphs ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    assets: tuple[Asset, ...]
    seconds: dict[str, float]

    def scenario(
        self,
        *,
        tick: float = 5.0,
        sigma: float = 0.0,
        launch: float = 0.0,
        one_location: bool = False,
        seed: int = 0,
    ) -> Scenario:
        place: Callable[[Asset], str] = lambda asset: "all" if one_location else asset.location  # noqa: E731
        assets = {
            asset.key: Asset(asset.key, place(asset), asset.deps, asset.policy, asset.unit)
            for asset in self.assets
        }
        locations = sorted({asset.location for asset in assets.values()})
        staggered = dict(zip(locations, PHASES * len(locations), strict=False))
        return Scenario(
            graph=Graph(assets, dict.fromkeys(locations, tick)),
            durations={key: Duration(value, sigma) for key, value in self.seconds.items()},
            launch=Duration(launch),
            phases=staggered if sigma else {},
            seed=seed,
        )

    def bound(self) -> tuple[float, float]:
        """Root syncs and materializations an hour that no schedule without violations beats.

        Between two syncs of a root there can be at most the maximum lag less the path of its
        tightest target; a slower target can skip whole syncs, but no part of one.
        """
        graph = {asset.key: asset for asset in self.assets}
        paths: dict[tuple[str, str], float] = {}  # (root, asset): the longest way, in seconds
        for asset in self.assets:
            outer = [dep for dep in asset.deps if graph[dep].unit != asset.unit or not asset.unit]
            if not outer:
                paths[asset.unit or asset.key, asset.key] = self.seconds[asset.key]
            for (root, key), path in list(paths.items()):
                if key in outer:
                    longest = paths.get((root, asset.key), 0.0)
                    paths[root, asset.key] = max(longest, path + self.seconds[asset.key])
        room = {
            (root, key): policy.minutes * 60 - path
            for (root, key), path in paths.items()
            if (policy := graph[key].policy)
        }
        roots = {root for root, _ in paths}
        period = {root: min(value for (r, _), value in room.items() if r == root) for root in roots}
        rates = {}
        for key in graph:
            periods = [
                floor(value / period[root] + 1e-9) * period[root]
                for (root, target), value in room.items()
                if (root, key) in paths and target in self._downstream(key)
            ]
            rates[key] = 3600 / min(periods)
        together = {
            asset.key: max(rates[key] for key in graph if graph[key].unit == asset.unit)
            for asset in self.assets
            if asset.unit
        }
        return sum(3600 / value for value in period.values()), sum({**rates, **together}.values())

    def _downstream(self, key: str) -> set[str]:
        found = {key}
        for asset in self.assets:  # inputs come first
            if found & set(asset.deps):
                found.add(asset.key)
        return found


WORKSPACE = Bench(
    (
        Asset("postgres/stargazers", "ingestion", unit="sync"),
        Asset("postgres/stargazers_user", "ingestion", ("postgres/stargazers",), unit="sync"),
        Asset(
            "mart/mart_gh_stargazer",
            "analytics_core",
            ("postgres/stargazers", "postgres/stargazers_user"),
        ),
        Asset("mart/mart_gh_cumulative", "analytics_marts", ("postgres/stargazers",), MaxLag(5)),
        Asset(
            "mart/mart_gh_join",
            "analytics_marts",
            ("mart/mart_gh_stargazer", "mart/mart_gh_cumulative"),
            MaxLag(10),
        ),
    ),
    {
        "postgres/stargazers": 60.0,
        "postgres/stargazers_user": 60.0,
        "mart/mart_gh_stargazer": 15.0,
        "mart/mart_gh_cumulative": 15.0,
        "mart/mart_gh_join": 15.0,
    },
)

OTHERS = {
    "diamond, 5 minutes": Bench(
        (
            Asset("root", "one"),
            Asset("left", "two", ("root",)),
            Asset("right", "three", ("root",)),
            Asset("tip", "four", ("left", "right"), MaxLag(5)),
        ),
        {"root": 60.0, "left": 15.0, "right": 30.0, "tip": 15.0},
    ),
    "fan-out 50, 5 minutes to 24 hours": Bench(
        (
            Asset("root", "one"),
            *(
                Asset(f"leaf_{number}", "two", ("root",), MaxLag((5, 10, 30, 60, 1440)[number % 5]))
                for number in range(50)
            ),
        ),
        {"root": 60.0, **{f"leaf_{number}": 15.0 for number in range(50)}},
    ),
    "chain of ten locations, 10 minutes": Bench(
        (
            Asset("link_0", "place_0"),
            *(
                Asset(
                    f"link_{number}",
                    f"place_{number}",
                    (f"link_{number - 1}",),
                    MaxLag(10) if number == 9 else None,
                )
                for number in range(1, 10)
            ),
        ),
        {"link_0": 30.0, **{f"link_{number}": 10.0 for number in range(1, 10)}},
    ),
    "two roots of 10 s and 10 minutes, 1 hour": Bench(
        (
            Asset("quick", "one"),
            Asset("slow", "two"),
            Asset("mart", "three", ("quick", "slow"), MaxLag(60)),
        ),
        {"quick": 10.0, "slow": 600.0, "mart": 15.0},
    ),
    "60 seconds": Bench(
        (Asset("root", "one"), Asset("mart", "two", ("root",), MaxLag(1))),
        {"root": 5.0, "mart": 2.0},
    ),
}


# --- schedulers that freshline is compared with ---------------------------------------------


class CronJob:
    """The whole graph as one job, every so many minutes."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60.0

    def __call__(self, world: World, location: str) -> Sequence[tuple[str, ...]]:
        first = min(asset.location for asset in world.graph.assets.values())
        due = location == first and world.now % self._seconds < 1e-6
        return [tuple(world.graph.assets)] if due else []


class OnCronAndEager:
    """Roots `on_cron`, the rest `eager`: when an input is newer, or requested in the same tick
    by the same location, and none of them is missing or in progress."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60.0
        self._handled: dict[str, int] = {}

    def __call__(self, world: World, location: str) -> Sequence[tuple[str, ...]]:
        requested: list[str] = []
        for key, asset in world.graph.assets.items():
            if asset.location == location and self._wanted(world, key, requested):
                requested.append(key)
        return [tuple(requested)] if requested else []

    def _wanted(self, world: World, key: str, requested: Iterable[str]) -> bool:
        asset = world.graph.assets[key]
        outer = [dep for dep in asset.deps if world.graph.assets[dep].unit != asset.unit]
        if not asset.unit:
            outer = list(asset.deps)
        if not outer:
            return world.now % self._seconds < 1e-6
        states = [world.states.get(dep) for dep in outer]
        mine = world.states.get(key)
        if any(state is None or state.version is None for state in states) or (
            mine and mine.pending
        ):
            return False
        if any(s and s.pending and s.pending.requested_at < world.now for s in states):
            return False
        newest = max(state.version.id for state in states if state and state.version)
        if newest > self._handled.get(key, 0) or set(outer) & set(requested):
            self._handled[key] = newest
            return True
        return False


# --- running ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    late: dict[str, float]
    """Share of the time, by target; mean over the seeds."""
    worst: float
    """The largest share of any target in any seed."""
    syncs: float
    made: float


def measure(
    bench: Bench,
    hours: float,
    seeds: int,
    scheduler: Callable[[], Scheduler] = ByPlan,
    **settings: float | bool,
) -> Result:
    end = WARM_UP + hours * 3600.0
    found = []
    for seed in range(seeds):
        world = World(bench.scenario(seed=seed, **settings), scheduler())  # type: ignore[arg-type]
        world.advance(end)
        found.append(figures(world, WARM_UP, end))
    shares = {key: [f.targets[key].share for f in found] for key in found[0].targets}
    return Result(
        {key: mean(values) for key, values in shares.items()},
        max(max(values) for values in shares.values()),
        mean(f.root_syncs for f in found),
        mean(f.materializations for f in found),
    )


class Report:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.missed: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def row(
        self, name: str, result: Result, owed: tuple[float, float, float, float] | None
    ) -> None:
        """`owed`: shares of the two targets, syncs and materializations an hour."""
        five, ten = result.late["mart/mart_gh_cumulative"], result.late["mart/mart_gh_join"]
        got = (five, ten, result.syncs, result.made)
        kept = owed is None or all(a <= b + 1e-9 for a, b in zip(got, owed, strict=True))
        if not kept:
            self.missed.append(name)
        wanted = (
            ""
            if owed is None
            else f"<= {owed[0]:.1%}, {owed[1]:.0%}, {owed[2]:g}, {owed[3]:g}: "
            + ("kept" if kept else "**missed**")
        )
        self.say(
            f"| {name} | {five:.3%} | {ten:.3%} | {result.syncs:.2f} | {result.made:.1f} "
            f"| {wanted} |"
        )


def the_table(report: Report, hours: float, seeds: int) -> None:
    def nominal(**settings: float | bool) -> Result:
        scheduler = settings.pop("scheduler", ByPlan)
        return measure(WORKSPACE, hours, 1, scheduler, **settings)  # type: ignore[arg-type]

    def jittered(**settings: float | bool) -> Result:
        scheduler = settings.pop("scheduler", ByPlan)
        return measure(WORKSPACE, hours, seeds, scheduler, sigma=0.3, **settings)  # type: ignore[arg-type]

    report.say(
        "| durations, scheduler | 5-minute target late | 10-minute target late "
        "| root syncs/h | materializations/h | owed |"
    )
    report.say("| --- | ---: | ---: | ---: | ---: | --- |")
    report.say(
        "| nominal, Dagster 1.1.9's reconciliation sensor, 30-minute schedule (measured elsewhere) "
        "| 41.7% | 26.7% | 10.0 | 46 | |"
    )
    every = {minutes: lambda m=minutes: CronJob(m) for minutes in (3, 5)}
    report.row(
        "nominal, root `on_cron` */5, all else `eager`, three locations",
        nominal(scheduler=lambda: OnCronAndEager(5)),
        None,
    )  # type: ignore[arg-type]
    report.row("nominal, one cron job */5", nominal(scheduler=every[5]), None)  # type: ignore[arg-type]
    report.row("nominal, one cron job */3", nominal(scheduler=every[3]), None)  # type: ignore[arg-type]
    syncs, made = WORKSPACE.bound()
    report.say(
        f"| nominal, **theoretical minimum for zero violations** | 0 | 0 | {syncs:.2f} "
        f"| {made:.1f} | |"
    )
    for places, one in (("three locations", False), ("one location", True)):
        report.row(
            f"nominal, **freshline**, 5 s tick, {places}",
            nominal(one_location=one),
            (0, 0, 16.5, 66),
        )
        report.row(
            f"nominal, **freshline**, 30 s tick, {places}",
            nominal(one_location=one, tick=30.0),
            (0, 0, 17.2, 69),
        )
    report.row("lognormal 0.3, one cron job */3", jittered(scheduler=every[3]), None)  # type: ignore[arg-type]
    for places, one in (("three locations", False), ("one location", True)):
        report.row(
            f"lognormal 0.3, **freshline**, {places}",
            jittered(one_location=one),
            (0.001, 0, 22, 88),
        )
        report.row(
            f"lognormal 0.3, 5 s launch latency, **freshline**, {places}",
            jittered(one_location=one, launch=5.0),
            (0.001, 0, 22.5, 90),
        )


def the_others(report: Report, hours: float) -> None:
    report.say("")
    report.say(
        "| graph and policy | durations | worst target late | root syncs/h | bound "
        "| materializations/h | bound |"
    )
    report.say("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, bench in OTHERS.items():
        syncs, made = bench.bound()
        for kind, settings, limit in (
            ("nominal", {}, 0.0),
            ("lognormal 0.3", {"sigma": 0.3}, 0.002),
        ):
            result = measure(bench, hours, 1, **settings)  # type: ignore[arg-type]
            if result.worst > limit:
                report.missed.append(f"{name}, {kind}")
            bounds = (f"{syncs:.2f}", f"{made:.1f}") if kind == "nominal" else ("", "")
            report.say(
                f"| {name} | {kind} | {result.worst:.3%} | {result.syncs:.2f} | {bounds[0]} "
                f"| {result.made:.1f} | {bounds[1]} |"
            )


def write(lines: Iterable[str]) -> None:
    """Put the tables into the README's own section; the rest of it stays as it is."""
    text = README.read_text() if README.exists() else "# Measurements\n"
    section = "\n".join((BEGIN, *lines, END))
    if BEGIN in text:
        before, rest = text.split(BEGIN, 1)
        text = before + section + rest.split(END, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n## Freshness\n\n{section}\n"
    README.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="What freshness costs, and whether it holds.")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated, after warm-up")
    parser.add_argument("--seeds", type=int, default=4, help="jittered rows are means over these")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    options = parser.parse_args()
    begin = time.process_time()
    report = Report()
    report.say(
        f"{options.hours:g} simulated hours after one hour of warm-up; jittered rows are the mean "
        f"of {options.seeds} seeds, and a duration's mean is its nominal value."
    )
    report.say("")
    the_table(report, options.hours, options.seeds)
    the_others(report, options.hours)
    report.say("")
    verdict = f"missed: {'; '.join(report.missed)}" if report.missed else "Every figure is kept."
    report.say(f"{verdict} ({time.process_time() - begin:.0f} s of CPU)")
    if options.write:
        write(report.lines)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
