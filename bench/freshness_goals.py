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
from itertools import product
from statistics import mean, median
from typing import NamedTuple

from freshline.simulate import ByPlan, Scenario
from freshness_graphs import WORKSPACE
from freshness_rivals import Cost, best_known, cost_of, eager, timetable
from freshness_timetables import best_timetable, bound
from freshness_worlds import (
    LOCATIONS,
    many_roots,
    quick_and_slow,
    random_world,
    two_kinds,
    two_roots,
    with_medians,
    with_neighbour,
)

__all__ = ["HEADER", "Goal", "goals"]

RANDOM_GRAPHS = 60
LARGE_GRAPHS = 2
LOGNORMAL_SEEDS = 8
MEDIAN_SEEDS = 4
HEADER = ("| where it is hard | freshline | owed |", "| --- | --- | --- |")


class Goal(NamedTuple):
    """A figure that freshline is to reach, and what it has reached."""

    what: str
    got: str
    owed: str
    """Empty if it is only for comparison."""
    kept: bool = True

    @property
    def row(self) -> str:
        """Return it as a row of a table."""
        verdict = f"{self.owed}: {'kept' if self.kept else '**missed**'}" if self.owed else ""
        return f"| {self.what} | {self.got} | {verdict} |"


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
        best, rival = best_known(scenario), eager(scenario)
        found = cost_of(scenario, ByPlan())
        if best is None:
            continue
        feasible += 1
        late += [seed] if found.late else []
        costlier += [seed] if rival and _is_costlier(found, rival) else []
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
    short = {asked: lag for asked, lag in longest.items() if asked < shortest}
    held = {asked: lag for asked, lag in longest.items() if asked >= shortest}
    worst = max(short, key=lambda asked: short[asked])
    yield Goal(
        f"asked 1 to 12 s less than can be held ({shortest} s): longest lag",
        f"{short[worst]:.0f} s (asked {worst} s)",
        f"<= 1.05 x {shortest} s",
        short[worst] <= 1.05 * shortest,
    )
    late = [asked for asked, lag in held.items() if lag > asked + 1e-6]
    yield Goal(
        f"asked {shortest} to {shortest + 12} s: late",
        f"{_named(late)}",
        f"none from {shortest + 10} s on",
        all(asked < shortest + 10 for asked in late),
    )
    share = [
        cost_of(quick_and_slow(240.0, sigma=0.3, seed=seed), ByPlan(), hours=8.0).late
        for seed in range(LOGNORMAL_SEEDS)
    ]
    yield Goal(
        f"asked 240 s, lognormal 0.3, {LOGNORMAL_SEEDS} seeds: late (mean, worst)",
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
    for name, launch, one, syncs, made in (
        ("one location", 0.0, True, 22.0, 88.0),
        ("three locations, 5 s launch", 5.0, False, 22.5, 90.0),
    ):
        found = [
            cost_of(
                with_medians(
                    WORKSPACE.scenario(sigma=0.3, launch=launch, one_location=one, seed=seed)
                ),
                ByPlan(),
                hours=24.0,
            )
            for seed in range(MEDIAN_SEEDS)
        ]
        got = [mean(getattr(cost, field) for cost in found) for field in ("syncs", "made", "late")]
        yield Goal(
            f"lognormal 0.3 with a median of 60 / 15 s, {name}: syncs, made an hour, late",
            f"{got[0]:.2f}, {got[1]:.1f}, {got[2]:.3%}",
            f"<= {syncs:g}, {made:g}, 0.1%",
            got[0] <= syncs and got[1] <= made and got[2] <= 0.001,
        )


def kinds() -> Iterator[Goal]:
    """Durations of two kinds, beside a schedule that knows each of them in advance."""
    found = [cost_of(two_kinds(seed=seed), ByPlan(), hours=24.0) for seed in range(MEDIAN_SEEDS)]
    late = mean(cost.late for cost in found)
    yield Goal(
        "one run in ten takes 120 s instead of 20, asked 5 and 10 minutes: syncs an hour, late",
        f"{mean(cost.syncs for cost in found):.1f}, {late:.2%}",
        "",
    )


def slow_tick() -> Iterator[Goal]:
    """The workspace with sensors that tick once a minute."""
    scenario = replace(WORKSPACE.scenario(tick=60.0))
    found, rival = cost_of(scenario, ByPlan(), hours=24.0), eager(scenario)
    owed = f"eager: {rival.syncs:.1f}, {rival.made:.1f}, 0" if rival else "no eager is on time"
    yield Goal(
        "a tick of 60 s: syncs, made an hour, late",
        f"{found.syncs:.1f}, {found.made:.1f}, {found.late:.2%}",
        owed,
    )


def _is_costlier(found: Cost, other: Cost) -> bool:
    """Return whether `found` is costlier by more than a run of each asset, at either end."""
    edge = len(found.rates) / found.hours
    return found.made > other.made + edge


def _timetable(scenario: Scenario) -> Cost:
    """Return the cost of the best timetable of a scenario that has one."""
    found = timetable(scenario)
    if found is None:
        raise LookupError("no timetable is on time")
    return found


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
            missed += not goal.kept
            print(goal.row, flush=True)
    print(f"{missed} missed ({time.process_time() - begin:.0f} s of CPU)")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
