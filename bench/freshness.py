"""What freshness costs, and whether it holds: freshline next to cron and Dagster's conditions.

Simulated days on a virtual clock after an hour of warm-up; lag is sampled every second. Exits
with status 1 when freshline misses a figure that it must keep. The last two tables have workspaces
that are hard to plan, and scenes with partitions, views and data that does not change; they are the
same for all options. Run it with

    .venv/bin/python bench/freshness.py            # some minutes; shorter: --hours 4 --seeds 1
    .venv/bin/python bench/freshness.py --write    # and puts the tables into bench/README.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Unpack

from freshline.simulate import ByPlan, Scheduler, World, figures
from freshness_data_time import scenes
from freshness_goals import HEADER, goals
from freshness_graphs import OTHERS, WORKSPACE, Bench, Settings
from freshness_schedulers import CronJob, OnCronAndEager

WARM_UP = 3600.0
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- freshness: begin -->", "<!-- freshness: end -->"


@dataclass(frozen=True)
class Result:
    """What one scheduler reached on one graph."""

    late: dict[str, float]
    """The share of time in which each target was late, as the mean over the seeds."""
    syncs: float
    """Root syncs an hour."""
    made: float
    """Materializations an hour."""


def measure(
    bench: Bench,
    hours: float,
    seeds: int,
    scheduler: Callable[[], Scheduler] = ByPlan,
    **settings: Unpack[Settings],
) -> Result:
    """Simulate `hours` of `bench` once for each seed; return the means."""
    end = WARM_UP + hours * 3600.0
    found = []
    for seed in range(seeds):
        world = World(bench.scenario(seed=seed, **settings), scheduler())
        world.advance(end)
        found.append(figures(world, WARM_UP, end))
    shares = {key: [f.targets[key].share for f in found] for key in found[0].targets}
    return Result(
        {key: mean(values) for key, values in shares.items()},
        mean(f.root_syncs for f in found),
        mean(f.materializations for f in found),
    )


class Report:
    """The lines of the tables, printed as they come, and the figures that were missed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.missed: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def row(
        self, name: str, result: Result, owed: tuple[float, float, float, float] | None
    ) -> None:
        """Add a row. `owed` are the limits that `result` must keep.

        They are: the share of time that each target is late, syncs and materializations an hour.
        """
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
        self.add(
            f"| {name} | {five:.3%} | {ten:.3%} | {result.syncs:.2f} | {result.made:.1f} "
            f"| {wanted} |"
        )


def report_workspace(report: Report, hours: float, seeds: int) -> None:
    def nominal(
        scheduler: Callable[[], Scheduler] = ByPlan, **settings: Unpack[Settings]
    ) -> Result:
        return measure(WORKSPACE, hours, 1, scheduler, **settings)

    def jittered(
        scheduler: Callable[[], Scheduler] = ByPlan, **settings: Unpack[Settings]
    ) -> Result:
        settings["sigma"] = 0.3
        return measure(WORKSPACE, hours, seeds, scheduler, **settings)

    report.add(
        "| durations, scheduler | 5-minute target late | 10-minute target late "
        "| root syncs/h | materializations/h | owed |"
    )
    report.add("| --- | ---: | ---: | ---: | ---: | --- |")
    report.add(
        "| nominal, Dagster 1.1.9's reconciliation sensor, 30-minute schedule (measured elsewhere) "
        "| 41.7% | 26.7% | 10.0 | 46 | |"
    )
    report.row(
        "nominal, root `on_cron` */5, all else `eager`, three locations",
        nominal(partial(OnCronAndEager, 5)),
        None,
    )
    report.row("nominal, one cron job */5", nominal(partial(CronJob, 5)), None)
    report.row("nominal, one cron job */3", nominal(partial(CronJob, 3)), None)
    syncs, made = WORKSPACE.bound()
    report.add(
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
    report.row("lognormal 0.3, one cron job */3", jittered(partial(CronJob, 3)), None)
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


def report_other_graphs(report: Report, hours: float, seeds: int) -> None:
    report.add("")
    report.add(
        "| graph and policy | durations | worst target late | root syncs/h | bound "
        "| materializations/h | bound |"
    )
    report.add("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    kinds: tuple[tuple[str, Settings, float], ...] = (
        ("nominal", {}, 0.0),
        ("lognormal 0.3", {"sigma": 0.3}, 0.002),
    )
    for name, bench in OTHERS.items():
        syncs, made = bench.bound()
        for kind, settings, limit in kinds:
            repeats = seeds if settings and len(bench.assets) < 20 else 1
            result = measure(bench, hours, repeats, **settings)
            worst = max(result.late.values())
            if worst > limit:
                report.missed.append(f"{name}, {kind}")
            bounds = (f"{syncs:.2f}", f"{made:.1f}") if kind == "nominal" else ("", "")
            report.add(
                f"| {name} | {kind} | {worst:.3%} | {result.syncs:.2f} | {bounds[0]} "
                f"| {result.made:.1f} | {bounds[1]} |"
            )


def report_goals(report: Report) -> None:
    report.add("")
    for line in HEADER:
        report.add(line)
    for goal in goals():
        if goal.kept is False:
            report.missed.append(goal.what)
        report.add(goal.row)


def report_data_time(report: Report) -> None:
    report.add("")
    report.add("| scene | freshline | owed |")
    report.add("| --- | --- | --- |")
    for scene, got, owed, kept in scenes():
        if not kept:
            report.missed.append(scene)
        report.add(f"| {scene} | {got} | {owed}: {'kept' if kept else '**missed**'} |")


def write(lines: Iterable[str]) -> None:
    """Write the tables into their section of the README."""
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
    report.add(
        f"{options.hours:g} simulated hours after one hour of warm-up. Jittered rows are the mean "
        f"of {options.seeds} seeds (one for the fan-out); their durations have the nominal mean."
    )
    report.add("")
    report_workspace(report, options.hours, options.seeds)
    report_other_graphs(report, options.hours, options.seeds)
    report_goals(report)
    report_data_time(report)
    report.add("")
    outcome = f"missed: {'; '.join(report.missed)}" if report.missed else "Every figure is kept."
    report.add(f"{outcome} ({time.process_time() - begin:.0f} s of CPU)")
    if options.write:
        write(report.lines)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
