"""Whatever the graph: freshline is on time where a timetable is, and costs little more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import pytest
from freshline.model import Capacity
from freshline.simulate import ByPlan, Run, Scenario, World, figures
from freshness_rivals import HOUR
from freshness_timetables import OnTimetable, best_timetable, bound
from freshness_worlds import many_roots, random_world
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

COMMON = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LIMITED = settings(COMMON, max_examples=4)
WORLDS = st.tuples(st.integers(0, 5), st.integers(1, 4))
"""A seed, and the number of roots. Few seeds, so that properties share a simulated world."""
BEGIN, END = 2 * HOUR, 5 * HOUR
MUCH = 1.5


class Played(NamedTuple):
    """A random world: as freshline runs it, and as a timetable does."""

    planned: World
    best: World | None
    """None if no timetable is known that is on time."""


@lru_cache(maxsize=32)
def played(seed: int, roots: int) -> Played:
    scenario = random_world(
        seed,
        roots=roots,
        size=roots + 2 + seed % 4,
        locations=1 + seed % 3,
        targets=1 + (seed + roots) % 4,
        longest=30.0,
    )
    return play(scenario)


def play(scenario: Scenario) -> Played:
    planned, tables = World(scenario, ByPlan()), best_timetable(scenario)
    planned.advance(END)
    if tables is None:
        return Played(planned, None)
    best = World(scenario, OnTimetable(tables))
    best.advance(END)
    return Played(planned, best)


def late(world: World) -> dict[str, float]:
    """Return the largest lag of each target that is late, in seconds."""
    found = figures(world, BEGIN, END)
    return {key: target.longest for key, target in found.targets.items() if target.share > 0}


def made(world: World) -> float:
    return figures(world, BEGIN, END).materializations


@COMMON
@given(WORLDS)
def test_the_best_timetable_does_in_the_simulation_what_the_search_expects(
    world: tuple[int, int],
) -> None:
    scenario = played(*world).planned.scenario
    tables = best_timetable(scenario)
    assert tables is not None
    expected = {key: lag for table in tables for key, lag in table.lags.items()}

    best = World(scenario, OnTimetable(tables))
    best.advance(END)

    found = figures(best, BEGIN, END)
    assert {} == late(best)
    assert [] == best.overlaps
    assert {} == {
        key: (lag, found.targets[key].longest)
        for key, lag in expected.items()
        if found.targets[key].longest > lag + 1e-3
    }
    edge = len(best.graph.assets) * HOUR / (END - BEGIN)
    assert sum(table.cost for table in tables) == pytest.approx(found.materializations, abs=edge)
    assert bound(scenario) <= sum(table.cost for table in tables) + 1e-6


@COMMON
@given(WORLDS)
def test_no_target_is_late_where_a_timetable_is_on_time(world: tuple[int, int]) -> None:
    planned, best = played(*world)

    assert best is None or {} == late(planned)


@COMMON
@given(WORLDS)
def test_no_more_than_half_as_much_again_is_made_as_by_the_best_timetable(
    world: tuple[int, int],
) -> None:
    planned, best = played(*world)
    edge = len(planned.graph.assets) * HOUR / (END - BEGIN)  # a run of each at either end

    assert best is None or made(planned) <= MUCH * made(best) + edge


@COMMON
@given(WORLDS)
def test_no_asset_runs_twice_at_once(world: tuple[int, int]) -> None:
    assert [] == played(*world).planned.overlaps


@COMMON
@given(WORLDS)
def test_every_run_makes_newer_data(world: tuple[int, int]) -> None:
    runs = played(*world).planned.runs

    assert [] == [(run.id, run.improved) for run in runs if not all(run.improved.values())]


@lru_cache(maxsize=32)
def limited(seed: int, roots: int) -> Played:
    """Play a world as `played` does, with slots and a pool of which a timetable needs a part.

    There is one place more in the pool than it needs at once, and twice its slots and one more. A
    run that makes several assets keeps its places until the last of them.
    """
    free = played(seed, roots)
    assert free.best is not None
    graph = free.best.graph
    pooled = {
        key: replace(asset, pools=("api",))
        for number, (key, asset) in enumerate(graph.assets.items())
        if number % 2 == 0
    }
    needs = [run for run in free.best.runs if pooled.keys() & run.keys]
    return play(
        replace(
            free.best.scenario,
            graph=replace(graph, assets={**graph.assets, **pooled}),
            capacity=Capacity(
                slots=2 * at_once(free.best.runs) + 1, pools={"api": at_once(needs) + 1}
            ),
        )
    )


def at_once(runs: Iterable[Run]) -> int:
    """Return how many of `runs` were under way at once, at most."""
    steps = [(run.requested_at, 1) for run in runs] + [(run.ended_at, -1) for run in runs]
    return max(accumulate(step for _, step in sorted(steps)))


@LIMITED
@given(WORLDS)
@example((0, 3))  # these three are late with less room
@example((3, 2))
@example((3, 4))
def test_limited_slots_and_a_pool_that_suffice_change_nothing_that_is_promised(
    world: tuple[int, int],
) -> None:
    planned, best = limited(*world)
    edge = len(planned.graph.assets) * HOUR / (END - BEGIN)

    assert best is not None
    assert {} == late(best)
    assert {} == late(planned)
    assert [] == planned.overlaps
    assert [] == [run.id for run in planned.runs if not all(run.improved.values())]
    assert made(planned) <= MUCH * made(best) + edge


@pytest.mark.parametrize("roots", [2, 4, 8])
def test_a_target_of_several_roots_is_made_once_a_cycle(roots: int) -> None:
    planned, best = play(many_roots(roots))

    assert best is not None
    assert {} == late(planned)
    assert made(planned) <= 1.15 * made(best)
