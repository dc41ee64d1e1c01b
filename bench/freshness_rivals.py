"""What the rivals of freshline cost on a graph of steady durations, each as cheap as it can be.

A rival that makes any target late does not count. The *best known* schedule is the cheapest of:

- eager: all roots on one cron, everything else as soon as an input is new; or as soon as nothing
  upstream of it is awaited either;
- cron: the whole graph as one job;
- timetables, with a period of its own for each target and a phase for each root.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from freshline.simulate import Scenario, Scheduler, World, figures
from freshness_schedulers import CronJob, OnCronAndEager, OnCronAndInOrder
from freshness_timetables import OnTimetable, best_timetable

__all__ = ["Cost", "cost_of", "eager", "rivals", "timetable"]

HOUR = 3600.0


class Cost(NamedTuple):
    """What a scheduler costs, and whether it keeps the policies."""

    name: str
    made: float
    """Materializations an hour."""
    syncs: float
    """Runs of roots an hour."""
    late: float
    """The share of time in which the worst target was late."""
    longest: Mapping[str, float]
    """The largest lag of each target, in seconds."""
    rates: Mapping[str, float]
    """Materializations of each asset an hour."""
    hours: float
    """So many were simulated."""


def cost_of(
    scenario: Scenario, scheduler: Scheduler, name: str = "freshline", hours: float = 4.0
) -> Cost:
    """Simulate `hours`, after a warm-up of an hour or twice the longest policy."""
    begin = max(HOUR, 2 * max(_limits(scenario)))
    end = begin + hours * HOUR
    world = World(scenario, scheduler)
    world.advance(end)
    found = figures(world, begin, end)
    made = Counter(key for run in world.runs for key, at in run.ended.items() if at >= begin)
    return Cost(
        name,
        found.materializations,
        found.root_syncs,
        max(target.share for target in found.targets.values()),
        {key: target.longest for key, target in found.targets.items()},
        {key: number / hours for key, number in made.items()},
        hours,
    )


def rivals(scenario: Scenario) -> list[Cost]:
    """Return what each rival costs that makes no target late."""
    found = (timetable(scenario), eager(scenario), _cron(scenario))
    return [cost for cost in found if cost]


def eager(scenario: Scenario) -> Cost | None:
    """Return the cost of the loosest cron for all roots, or None if each makes a target late."""
    found = [
        _loosest(scenario, scheduler, "eager") for scheduler in (OnCronAndEager, OnCronAndInOrder)
    ]
    return min((each for each in found if each), key=lambda cost: cost.made, default=None)


def _cron(scenario: Scenario) -> Cost | None:
    return _loosest(scenario, CronJob, "cron")


def timetable(scenario: Scenario) -> Cost | None:
    """Return the cost of the best timetable, or None if each makes a target late."""
    tables = best_timetable(scenario)
    if tables is None:
        return None
    cost = cost_of(scenario, OnTimetable(tables), "timetable")
    return cost if cost.late == 0.0 else None


def _loosest(scenario: Scenario, scheduler: Callable[[float], Scheduler], name: str) -> Cost | None:
    """Return the cost of `scheduler` with the most minutes with which no target is late."""
    tick = max(scenario.graph.ticks.values())
    fewest, most = 0, int(min(_limits(scenario)) / tick)  # in ticks
    best = None
    while fewest < most:
        ticks = (fewest + most + 1) // 2
        cost = cost_of(scenario, scheduler(ticks * tick / 60.0), name, hours=2.0)
        if cost.late == 0.0:
            best, fewest = cost, ticks
        else:
            most = ticks - 1
    return best


def _limits(scenario: Scenario) -> list[float]:
    return [asset.policy.minutes * 60.0 for asset in scenario.graph.assets.values() if asset.policy]
