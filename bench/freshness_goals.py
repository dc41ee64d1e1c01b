"""The figures that freshline is to reach on workspaces that are hard to plan.

`freshness.py` puts them into its report. One section alone, or all of them:

    .venv/bin/python bench/freshness_goals.py --only roots
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from math import exp
from statistics import mean, median
from typing import NamedTuple

from freshline.model import Asset, Capacity
from freshline.policy import MaxLag
from freshline.simulate import ByPlan, Change, Figures, Scenario, World, figures, simulate
from freshness_graphs import OTHERS, WORKSPACE, Bench
from freshness_rivals import HOUR, Cost, cost_of, eager, rivals, timetable
from freshness_timetables import best_timetable, bound
from freshness_worlds import (
    LOCATIONS,
    feeds,
    many_roots,
    quick_and_slow,
    random_world,
    two_kinds,
    two_roots,
    with_neighbour,
)

__all__ = ["HEADER", "Goal", "goals"]

RANDOM_GRAPHS = 60
LARGE_GRAPHS = 2
MORE_SEEDS = 8
SEEDS = 4
QUEUE_SEEDS = 3
SLOW = 30.0
"""In seconds: a tick that is late."""
DIAMOND = OTHERS["diamond, 5 minutes"]
HEADER = ("| where it is hard | freshline | owed |", "| --- | --- | --- |")


class Goal(NamedTuple):
    """A figure that freshline is to reach, and what it has reached."""

    what: str
    got: str
    owed: str
    kept: bool | None = None
    """None: `owed` is only for comparison."""

    @property
    def row(self) -> str:
        """Return it as a row of a table."""
        verdict = "" if self.kept is None else ": kept" if self.kept else ": **missed**"
        return f"| {self.what} | {self.got} | {self.owed}{verdict} |"


def goals() -> Iterator[Goal]:
    """Yield every goal; some minutes of CPU."""
    for section in SECTIONS.values():
        yield from section()


def roots() -> Iterator[Goal]:
    """Targets over several roots: one run of each asset a cycle, whatever their number."""
    for count in (2, 4, 8, 16):
        scenario = many_roots(count)
        needed = _timetable(scenario).made / (count + 2)  # all equally often
        found = cost_of(scenario, ByPlan(), hours=6.0)
        made, syncs = found.rates["n"], found.syncs / count
        yield Goal(
            f"a target over {count} roots: made an hour, syncs of each root, late",
            f"{made:.1f}, {syncs:.1f}, {found.late:.2%}",
            f"<= 1.15 x {needed:.2f}, 1.1 x {needed:.2f}, 0",
            made <= 1.15 * needed and syncs <= 1.1 * needed and found.late == 0.0,
        )


def graphs() -> Iterator[Goal]:
    """Random graphs of up to nine assets, 1 to 3 roots and 1 to 3 locations."""
    late, costlier, feasible = [], [], 0
    over_bound, over_best = [], []
    for seed in range(RANDOM_GRAPHS):
        scenario = random_world(
            seed,
            roots=1 + seed % 3,
            size=4 + seed % 6,
            locations=1 + seed // 3 % 3,
            targets=1 + seed // 9 % 4,
        )
        others = rivals(scenario)
        if not others:
            continue
        best = min(others, key=lambda cost: cost.made)
        found = cost_of(scenario, ByPlan())
        feasible += 1
        late += [seed] if found.late else []
        rival = [other for other in others if other.name == "eager"]
        costlier += [seed] if any(_is_costlier(found, other) for other in rival) else []
        over_bound.append(found.made / bound(scenario))
        over_best.append(found.made / best.made)
    yield Goal(
        f"{feasible} random graphs that can be on time: late", f"{_named(late)}", "0", not late
    )
    yield Goal(
        f"{feasible} random graphs: costlier than an eager schedule that is on time",
        f"{_named(costlier)}",
        "0",
        not costlier,
    )
    yield Goal(
        f"{feasible} random graphs: materializations over the bound (median, worst)",
        f"{median(over_bound):.2f}, {max(over_bound):.2f}",
        "median <= 1.10",
        median(over_bound) <= 1.10,
    )
    yield Goal(
        f"{feasible} random graphs: materializations over the best known schedule (median, worst)",
        f"{median(over_best):.2f}, {max(over_best):.2f}",
        "worst <= 1.5",
        max(over_best) <= 1.5,
    )


def large() -> Iterator[Goal]:
    """Random graphs of 200 assets; all sensors tick at once. Rivals other than timetables are
    far from it."""
    for seed in range(LARGE_GRAPHS):
        scenario = replace(
            random_world(seed, roots=20, size=200, locations=3, targets=15, longest=30.0),
            first_ticks={},
        )
        best = _timetable(scenario)
        found = cost_of(scenario, ByPlan(), hours=2.0)
        yield Goal(
            f"random graph {seed + 1} of 200 assets: materializations an hour, late",
            f"{found.made:.0f}, {found.late:.2%}",
            f"<= 1.15 x {best.made:.0f}, 0",
            found.made <= 1.15 * best.made and found.late == 0.0,
        )


def infeasible() -> Iterator[Goal]:
    """A policy that is too short, and its neighbours."""
    shortest = next(
        maximum for maximum in range(100, 200) if best_timetable(quick_and_slow(float(maximum)))
    )
    longest = {
        asked: cost_of(quick_and_slow(float(asked)), ByPlan(), hours=2.0).longest["mart"]
        for asked in range(shortest - 12, shortest + 13)
    }
    above = {asked: lag - max(asked, 1.05 * shortest) for asked, lag in longest.items()}
    worst = max(above, key=lambda asked: above[asked])
    yield Goal(
        f"asked {min(above)} to {max(above)} s, where {shortest} s can be held: longest lag",
        f"{longest[worst]:.0f} s (asked {worst} s)",
        f"<= what is asked, or 1.05 x {shortest} s",
        above[worst] <= 1e-6,
    )
    share = [
        cost_of(quick_and_slow(240.0, sigma=0.3, seed=seed), ByPlan(), hours=8.0).late
        for seed in range(MORE_SEEDS)
    ]
    yield Goal(
        f"asked 240 s, lognormal 0.3, {MORE_SEEDS} seeds: late (mean, worst)",
        f"{mean(share):.2%}, {max(share):.2%}",
        "mean <= 0.2%",
        mean(share) <= 0.002,
    )


def neighbours() -> Iterator[Goal]:
    """A mart of 10 minutes beside one whose policy is too short; all phases of first ticks."""
    alone = _timetable(with_neighbour(600.0, {}))
    beside = [cost_of(with_neighbour(128.0, each), ByPlan(), hours=2.0) for each in _phases()]
    most = max(cost.rates["neighbour"] for cost in beside)
    longest = max(cost.longest["neighbour"] for cost in beside)
    needed = alone.rates["neighbour"]
    yield Goal(
        "a mart of 10 minutes beside an infeasible policy, any phase: made an hour, longest lag",
        f"{most:.1f}, {longest:.0f} s",
        f"<= 1.15 x {needed:.1f}, 600 s",
        most <= 1.15 * needed and longest <= 600.0,
    )


def two() -> Iterator[Goal]:
    """Two roots in one location; the mart is there too, or elsewhere with any first tick."""
    scenarios = [two_roots("one", 0.0), *(two_roots("two", tick / 2) for tick in range(10))]
    late = [cost_of(scenario, ByPlan(), hours=12.0).late for scenario in scenarios]
    yield Goal(
        "two roots in one location, asked 90 s: late with a mart there, elsewhere (any phase)",
        f"{late[0]:.2%}, {max(late[1:]):.2%}",
        "0, 0",
        not any(late),
    )


def lognormal() -> Iterator[Goal]:
    """The workspace with lognormal durations whose median is nominal."""
    longer = _times(WORKSPACE, exp(0.3**2 / 2))  # the mean of a lognormal over its median
    for name, launch, one, syncs, made in (
        ("one location", 0.0, True, 22.0, 88.0),
        ("three locations, 5 s launch", 5.0, False, 22.5, 90.0),
    ):
        found = [
            cost_of(
                longer.scenario(sigma=0.3, launch=launch, one_location=one, seed=seed),
                ByPlan(),
                hours=24.0,
            )
            for seed in range(SEEDS)
        ]
        got = [mean(getattr(cost, field) for cost in found) for field in ("syncs", "made", "late")]
        yield Goal(
            f"lognormal 0.3 with a median of 60 / 15 s, {name}: syncs, made an hour, late",
            f"{got[0]:.2f}, {got[1]:.1f}, {got[2]:.3%}",
            f"<= {syncs:g}, {made:g}, 0.1%",
            got[0] <= syncs and got[1] <= made and got[2] <= 0.001,
        )


def kinds() -> Iterator[Goal]:
    """Durations of two kinds."""
    found = [cost_of(two_kinds(seed=seed), ByPlan(), hours=24.0) for seed in range(SEEDS)]
    usual = 3600.0 / (300.0 - 2 * two_kinds().durations["root"].mean)  # root, then `mart_5`
    yield Goal(
        "one run in ten takes 120 s instead of 20, asked 5 and 10 minutes: syncs an hour, late",
        f"{mean(cost.syncs for cost in found):.1f}, {mean(cost.late for cost in found):.2%}",
        f"(bound if each took its mean: {usual:.1f})",
    )


def slow_tick() -> Iterator[Goal]:
    """Sensors that tick once a minute."""
    for name, graph in (("the workspace", WORKSPACE), ("the diamond", DIAMOND)):
        scenario = graph.scenario(tick=60.0)
        places = sorted(scenario.graph.ticks)
        for first in ((0.0,), (0.0, 20.0, 40.0), (0.0, 40.0, 20.0), (30.0, 0.0)):
            phased = replace(scenario, first_ticks=dict(zip(places, first, strict=False)))
            found, rival = cost_of(phased, ByPlan()), eager(phased)
            if rival is None:
                continue
            yield Goal(
                f"{name}, a tick of 60 s, first ticks {first}: syncs an hour, late",
                f"{found.syncs:.1f}, {found.late:.2%}",
                f"<= {rival.syncs:.1f} (eager), 0",
                found.syncs <= rival.syncs + 1.0 / found.hours and not found.late,
            )


def queue() -> Iterator[Goal]:
    """A run queue that is nearly full; the first half hour does not count."""
    for name, pool in (("four slots", False), ("four slots, a pool of one over four syncs", True)):
        cold, warm = (
            [_queued(feeds(pool=pool, seed=seed), begin) for seed in range(QUEUE_SEEDS)]
            for begin in (0.0, HOUR)
        )
        yield Goal(
            f"twelve feeds, {name}, cold start: late, syncs an hour",
            f"{_late(cold):.2%}, {_syncs(cold):.1f}",
            f"<= 0.3%, 1.05 x {_syncs(warm):.1f} (warm start; {_late(warm):.2%} late)",
            _late(cold) <= 0.003 and _syncs(cold) <= 1.05 * _syncs(warm),
        )


def late_ticks() -> Iterator[Goal]:
    """Sensors that tick less often than they declare."""
    for name, sigma, seeds in (("", 0.0, 1), (", lognormal 0.3", 0.3, SEEDS)):
        real, declared = (
            [_ticking(WORKSPACE.scenario(tick=tick, sigma=sigma, seed=n)) for n in range(seeds)]
            for tick in (5.0, SLOW)
        )
        kept = _late(real) <= _late(declared) and _syncs(real) <= 1.01 * _syncs(declared)
        yield Goal(
            f"the workspace{name}, a tick of {SLOW:g} s, declared as 5 s: late, syncs an hour",
            f"{_late(real):.3%}, {_syncs(real):.2f}",
            f"{'' if sigma else '<= '}{_late(declared):.3%}, {_syncs(declared):.2f} (if declared)",
            None if sigma else kept,
        )


def change() -> Iterator[Goal]:
    """All durations double at once, after eight hours."""
    found = _late_cycles(WORKSPACE)
    yield Goal(
        "the workspace, durations doubled at once: late cycles of a target until all holds again",
        f"{found}",
        "<= 3",
        found <= 3,
    )
    relaxed = replace(WORKSPACE, assets=tuple(map(_with_twice_the_lag, WORKSPACE.assets)))
    cycles = [_late_cycles(relaxed, sigma=0.3, seed=seed) for seed in range(SEEDS)]
    yield Goal(
        "the same, asked 10 and 20 minutes, lognormal 0.3: late cycles in four hours (mean, worst)",
        f"{mean(cycles):.1f}, {max(cycles)}",
        "mean <= 3",
        mean(cycles) <= 3,
    )


def crons() -> Iterator[Goal]:
    """Many crons. `planner_scale.py` measures them."""
    yield Goal(
        "a plan of a chain of 10,000 assets, 500 with a cron of their own: CPU",
        "see planner_scale",
        "< 1 s",
    )


def _queued(scenario: Scenario, begin: float) -> Figures:
    """Return the figures of three hours; before `begin` there is room for any number of runs."""
    world = World(replace(scenario, capacity=Capacity()), ByPlan())
    world.advance(begin)
    world.scenario = scenario
    world.advance(begin + 3 * HOUR)
    return figures(world, begin + HOUR / 2, begin + 3 * HOUR)


def _ticking(scenario: Scenario) -> Figures:
    """Return the figures of twelve hours of slow ticks, after ten of them and one maximum lag."""
    real_ticks = dict.fromkeys(scenario.graph.ticks, SLOW)
    world = simulate(replace(scenario, real_ticks=real_ticks), 12 * HOUR)
    return figures(world, 10 * SLOW + 300.0, 12 * HOUR)


def _late_cycles(bench: Bench, *, sigma: float = 0.0, seed: int = 0) -> int:
    """Return how many versions of a target came too late after all durations had doubled."""
    longer = _times(bench, 2.0).scenario(sigma=sigma).durations
    changes = tuple(Change(8 * HOUR, key, duration) for key, duration in longer.items())
    scenario = replace(bench.scenario(sigma=sigma, seed=seed), changes=changes)
    world = simulate(scenario, 12 * HOUR)
    return max(
        sum(
            at >= 8 * HOUR and at - (data or 0.0) > asset.policy.minutes * 60.0 + 1e-6
            for (_, data), (at, _) in pairwise(world.versions[asset.key])
        )
        for asset in bench.assets
        if asset.policy
    )


def _with_twice_the_lag(asset: Asset) -> Asset:
    """Return `asset`, which may be twice as far behind."""
    return replace(asset, policy=MaxLag(2 * asset.policy.minutes)) if asset.policy else asset


def _late(found: Sequence[Figures]) -> float:
    """Return the share of time in which the worst target is late, as the mean of `found`."""
    return max(mean(each.targets[key].share for each in found) for key in found[0].targets)


def _syncs(found: Sequence[Figures]) -> float:
    """Return the syncs an hour, as the mean of `found`."""
    return mean(each.root_syncs for each in found)


def _times(bench: Bench, factor: float) -> Bench:
    """Return `bench` with all durations `factor` times as long."""
    return replace(bench, seconds={key: each * factor for key, each in bench.seconds.items()})


def _timetable(scenario: Scenario) -> Cost:
    """Return the cost of the best timetable of a scenario that has one."""
    found = timetable(scenario)
    if found is None:
        raise LookupError("no timetable is on time")
    return found


def _is_costlier(found: Cost, other: Cost) -> bool:
    """Return whether `found` is costlier by more than a run of each asset at either end."""
    return found.made > other.made + len(found.rates) / other.hours


def _phases() -> list[dict[str, float]]:
    """Return first ticks of three locations, in all phases by the second."""
    rest = product(range(5), repeat=2)
    return [dict(zip(LOCATIONS, (0.0, *map(float, each)), strict=True)) for each in rest]


def _named(seeds: Sequence[int]) -> str:
    """Return how many there are, and which."""
    return f"{len(seeds)} ({', '.join(map(str, seeds))})" if seeds else "0"


SECTIONS: dict[str, Callable[[], Iterator[Goal]]] = {
    "roots": roots,
    "graphs": graphs,
    "large": large,
    "infeasible": infeasible,
    "neighbours": neighbours,
    "two": two,
    "lognormal": lognormal,
    "kinds": kinds,
    "slow-tick": slow_tick,
    "queue": queue,
    "late-ticks": late_ticks,
    "change": change,
    "crons": crons,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="What freshline reaches where it is hard.")
    parser.add_argument("--only", choices=SECTIONS, help="one section instead of all")
    only = parser.parse_args().only
    begin = time.process_time()
    missed = 0
    print(*HEADER, sep="\n", flush=True)
    for name, section in SECTIONS.items():
        for goal in section() if only in (None, name) else ():
            missed += goal.kept is False
            print(goal.row, flush=True)
    print(f"{missed} missed ({time.process_time() - begin:.0f} s of CPU)")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
