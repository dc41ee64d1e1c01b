"""Slots, pools and priorities of the simulated queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from freshline.model import SLOTS, Asset, Capacity, Graph
from freshline.policy import MaxLag
from freshline.simulate import Duration, Request, Run, Scenario, Uniform, World, simulate
from freshline.simulate.forecast import HOLDS, forecast
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_worlds import random_scenario

HOUR = 3600.0


class AtOnce:
    """Requests all of `requests` at the first tick of ingestion, in this order."""

    def __init__(self, *requests: Request) -> None:
        self._requests = requests

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        return self._requests if (world.now, location) == (0.0, "ingestion") else ()


def feeds(*keys: str, pools: Sequence[str] = ()) -> tuple[Asset, ...]:
    return tuple(Asset(key, "ingestion", pools=tuple(pools)) for key in keys)


def world_of(*assets: Asset, capacity: Capacity, requests: Sequence[Request]) -> World:
    graph = Graph({asset.key: asset for asset in assets})
    scenario = Scenario(
        graph, dict.fromkeys(graph.assets, Duration(60.0)), Duration(5.0), capacity=capacity
    )
    return simulate(scenario, HOUR, AtOnce(*requests))


def launches(world: World) -> list[tuple[str, float | None]]:
    """Return when each run left the queue, with its first asset."""
    return [(run.keys[0], run.launched_at) for run in world.runs]


class TestQueue:
    def test_a_run_waits_for_a_slot_and_then_takes_its_time_to_launch(self) -> None:
        world = world_of(
            *feeds("a", "b"), capacity=Capacity(1), requests=[Request(("a",)), Request(("b",))]
        )

        assert [("a", 0.0), ("b", 65.0)] == launches(world)
        assert {"b": 70.0} == world.runs[1].started

    def test_the_highest_priority_is_launched_first_and_then_the_oldest(self) -> None:
        requests = [
            Request(("a",), priority=0),
            Request(("b",), priority=0),
            Request(("c",), priority=7),
        ]
        world = world_of(*feeds("a", "b", "c"), capacity=Capacity(1), requests=requests)

        assert [("a", 65.0), ("b", 130.0), ("c", 0.0)] == launches(world)

    def test_a_run_whose_pool_is_full_is_passed_over(self) -> None:
        pooled, free = feeds("a", "b", pools=["api"]), feeds("c")
        requests = [Request(("a",)), Request(("b",)), Request(("c",))]
        world = world_of(*pooled, *free, capacity=Capacity(2, pools={"api": 1}), requests=requests)

        assert [("a", 0.0), ("b", 65.0), ("c", 0.0)] == launches(world)

    def test_a_run_holds_the_pools_of_all_its_assets_until_it_ends(self) -> None:
        first = Asset("first", "ingestion")
        second = Asset("second", "ingestion", ("first",), pools=("api",))
        requests = [Request(("first", "second")), Request(("other",))]
        world = world_of(
            first,
            second,
            *feeds("other", pools=["api"]),
            capacity=Capacity(pools={"api": 1}),
            requests=requests,
        )

        assert [("first", 0.0), ("other", 125.0)] == launches(world)

    def test_a_pool_without_a_limit_has_any_number_of_places(self) -> None:
        world = world_of(
            *feeds("a", "b", pools=["api"]),
            capacity=Capacity(2),
            requests=[Request(("a",)), Request(("b",))],
        )

        assert [("a", 0.0), ("b", 0.0)] == launches(world)

    def test_slots_that_others_take_are_not_there(self) -> None:
        world = world_of(
            *feeds("a", "b"),
            capacity=Capacity(2, others=1),
            requests=[Request(("a",)), Request(("b",))],
        )

        assert [("a", 0.0), ("b", 65.0)] == launches(world)

    def test_what_waits_in_the_queue_is_pending_and_not_launched(self) -> None:
        graph = Graph({asset.key: asset for asset in feeds("a", "b")})
        durations = dict.fromkeys(graph.assets, Duration(60.0))
        scenario = Scenario(graph, durations, capacity=Capacity(1))
        requests = AtOnce(Request(("a",)), Request(("b",)))

        snapshot = simulate(scenario, 30.0, requests).snapshot()

        launched = [it.pending and it.pending.launched_at for it in snapshot.assets.values()]
        assert [0.0, None] == launched
        assert Capacity(1) == snapshot.capacity

    def test_a_wait_for_a_slot_is_not_learnt_as_a_duration_of_the_asset(self) -> None:
        world = world_of(
            *feeds("a", "b"), capacity=Capacity(1), requests=[Request(("a",)), Request(("b",))]
        )

        queue = world.states["b"].durations.queue

        assert queue is not None
        assert 0.0 == queue.mean


def most_at_once(runs: Sequence[Run]) -> int:
    """Return how many of `runs` were under way at once."""
    changes = []
    for run in runs:
        ends = [*run.ended.values(), *run.failed.values(), *run.nothing.values()]
        if run.launched_at is not None:
            changes.append((run.launched_at, 1))
            changes.extend([(max(ends), -1)] if run.done.issuperset(run.keys) else [])
    under_way = most = 0
    for _, change in sorted(changes):
        under_way += change
        most = max(most, under_way)
    return most


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 3), places=st.integers(1, 2))
def test_there_are_never_more_runs_under_way_than_slots_and_places(
    seed: int, slots: int, places: int
) -> None:
    scenario = random_scenario(seed, sigma=0.3, troubles=True)
    graph = scenario.graph
    pooled = {
        key: replace(asset, pools=("api",)) if key[-1] in "024" else asset
        for key, asset in graph.assets.items()
    }
    world = simulate(
        replace(
            scenario,
            graph=replace(graph, assets=pooled),
            capacity=Capacity(slots, pools={"api": places}),
        ),
        HOUR,
    )

    assert most_at_once(world.runs) <= slots
    in_pool = [run for run in world.runs if any(pooled[key].pools for key in run.keys)]
    assert most_at_once(in_pool) <= places


class TestForecast:
    def scenario(self, capacity: Capacity) -> Scenario:
        """Return four feeds of a minute, in four locations: each needs some 0.57 slots."""
        assets = [
            Asset(key, f"at {key}", (), MaxLag(2.8), pools=("api",) if key in "ab" else ())
            for key in "abcd"
        ]
        graph = Graph({asset.key: asset for asset in assets})
        return Scenario(graph, dict.fromkeys(graph.assets, Duration(60.0)), capacity=capacity)

    def test_it_says_how_many_slots_would_do(self) -> None:
        seen = forecast(self.scenario(Capacity(2)), hours=1)
        shortage = seen.shortages[SLOTS]

        assert 2 == shortage.given
        assert 2.3 == pytest.approx(shortage.work, abs=0.1)
        enough = forecast(self.scenario(Capacity(shortage.enough)), hours=1)
        assert {} == enough.shortages
        assert all(one.share <= HOLDS for one in enough.figures.targets.values())
        one_less = forecast(self.scenario(Capacity(shortage.enough - 1)), hours=1)
        assert any(one.share > HOLDS for one in one_less.figures.targets.values())

    def test_a_target_is_late_and_not_infeasible_when_slots_are_missing(self) -> None:
        seen = forecast(self.scenario(Capacity(1)), hours=1)

        assert any(one.share > HOLDS for one in seen.figures.targets.values())
        assert set() == seen.infeasible

    def test_a_pool_that_is_too_small_is_named(self) -> None:
        seen = forecast(self.scenario(Capacity(5, pools={"api": 1})), hours=1)

        assert {"api": 2} == {name: it.enough for name, it in seen.shortages.items()}
        assert {SLOTS: 5, "api": 1} == {name: limit for name, (_, limit) in seen.taken.items()}

    def test_nothing_is_short_without_limits(self) -> None:
        seen = forecast(self.scenario(Capacity()), hours=1)

        assert ({}, {}) == (seen.taken, seen.shortages)


def test_a_uniform_duration_lies_between_its_least_and_its_most() -> None:
    graph = Graph(
        {"feed": Asset("feed", "ingestion"), "mart": Asset("mart", "marts", ("feed",), MaxLag(2))}
    )
    durations = dict.fromkeys(graph.assets, Duration(5.0))

    world = simulate(Scenario(graph, durations, launch=Uniform(3.0, 9.0)), HOUR)

    took = [min(run.started.values()) - run.requested_at for run in world.runs if run.started]
    assert 3.0 <= min(took) < 4.0
    assert 8.0 < max(took) <= 9.0
