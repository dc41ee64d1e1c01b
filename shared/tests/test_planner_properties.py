"""What holds for every workspace: random graphs, policies, durations, failures and outages."""

from __future__ import annotations

from functools import lru_cache
from unittest.mock import patch

import pytest
from freshline.model import Asset, Graph, TargetStatus
from freshline.planner import RETRY_CEILING, RETRY_FIRST, SILENT_AFTER, lineage_of, plan
from freshline.policy import MaxLag
from freshline.simulate import (
    Duration,
    Fault,
    Outage,
    Scenario,
    World,
    figures,
    simulate,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from planner_worlds import random_scenario, with_crons

SEEDS = st.integers(min_value=0, max_value=10**6)
TROUBLES = st.integers(min_value=0, max_value=11)
"""Few seeds, so that several properties share one simulated world."""

COMMON = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@lru_cache(maxsize=16)
def in_trouble(seed: int) -> World:
    return simulate(random_scenario(seed, sigma=0.3, troubles=True), until=2 * 3600.0)


@COMMON
@given(SEEDS)
@example(15)
@example(33)
@example(105)
def test_every_policy_holds_when_it_is_feasible(seed: int) -> None:
    scenario = random_scenario(seed)
    slowest = max(asset.policy.minutes for asset in scenario.graph.assets.values() if asset.policy)
    warm_up = min(4 * 3600.0, max(3600.0, slowest * 60 * 6))

    end = warm_up + 3600.0
    found = figures(simulate(scenario, end), warm_up, end)

    assert {} == {key: late for key, late in found.targets.items() if late.share > 0}


@COMMON
@given(TROUBLES)
def test_no_asset_ever_overlaps_with_itself(seed: int) -> None:
    assert [] == in_trouble(seed).overlaps


@COMMON
@given(TROUBLES)
def test_every_run_makes_newer_data(seed: int) -> None:
    world = in_trouble(seed)
    for run in world.runs:
        improved: dict[str, bool] = {}  # by execution set, which is made together
        for key, newer in run.improved.items():
            step = world.graph.assets[key].execution_set or key
            improved[step] = improved.get(step, False) or newer

        assert [] == [step for step, newer in improved.items() if not newer], run.requested_at


@COMMON
@given(TROUBLES)
def test_a_failed_asset_pauses_before_each_retry(seed: int) -> None:
    world = in_trouble(seed)
    failures: dict[str, list[float]] = {}
    for run in world.runs:
        for key in run.keys:
            row = failures.get(key, [])
            if row:
                pause = min(RETRY_CEILING, RETRY_FIRST * 2 ** (len(row) - 1))
                assert row[-1] + pause <= run.requested_at + 1e-6
        for key, at in run.failed.items():
            if key in run.started:
                failures.setdefault(key, []).append(at)
        for key in run.ended:
            failures.pop(key, None)


@COMMON
@given(TROUBLES)
def test_a_plan_does_not_depend_on_the_order_of_the_graph(seed: int) -> None:
    world = in_trouble(seed)
    shuffled = Graph(
        dict(reversed(world.graph.assets.items())), world.graph.ticks, world.graph.outside
    )

    first = plan(lineage_of(world.graph), world.snapshot(), world.now)
    second = plan(lineage_of(shuffled), world.snapshot(), world.now)

    assert first == second


@COMMON
@given(SEEDS)
def test_no_target_is_late_because_few_claims_of_many_crons_are_kept(seed: int) -> None:
    scenario = with_crons(random_scenario(seed))

    def late() -> set[str]:
        found = figures(simulate(scenario, 3 * 3600.0), 3600.0, 3 * 3600.0)
        return {key for key, lateness in found.targets.items() if lateness.share > 0}

    with patch("freshline.planner.demand._first_by_cron", lambda claims, _: claims):
        late_with_all = late()

    assert late() <= late_with_all


@COMMON
@given(SEEDS, st.integers(0, 3))
def test_every_target_of_a_silent_location_is_blocked(seed: int, place: int) -> None:
    scenario = random_scenario(seed, sigma=0.3)
    locations = sorted({asset.location for asset in scenario.graph.assets.values()})
    lost = locations[place % len(locations)]
    scenario = Scenario(
        graph=scenario.graph,
        durations=scenario.durations,
        outages=(Outage(lost, 1800.0),),
        seed=seed,
    )
    world = simulate(scenario, 1800.0 + SILENT_AFTER + 10.0)

    targets = world.plan().targets

    assert set() == {
        key
        for key, target in targets.items()
        if target.location == lost and target.status is not TargetStatus.BLOCKED
    }


@COMMON
@given(SEEDS)
def test_every_target_is_fresh_again_when_the_troubles_are_over(seed: int) -> None:
    calm = random_scenario(seed, spare=2.0)
    keys = sorted(calm.graph.assets)
    scenario = Scenario(
        graph=calm.graph,
        durations=calm.durations,
        launch=calm.launch,
        first_ticks=calm.first_ticks,
        faults=(Fault(keys[seed % len(keys)], 3600.0, 5400.0),),
        outages=(Outage(calm.graph.assets[keys[0]].location, 4000.0, 6000.0),),
    )
    world = simulate(scenario, 6000.0 + 3600.0)

    statuses = world.plan().targets.values()
    assert {TargetStatus.FRESH} == {target.status for target in statuses}


def test_a_target_is_late_for_a_thousandth_of_the_time_at_most_when_durations_vary() -> None:
    graph = Graph(
        {
            "source": Asset("source", "one"),
            "mart": Asset("mart", "two", ("source",), MaxLag(5)),
        },
        {"one": 5.0, "two": 5.0},
    )
    durations = {"source": Duration(60.0, 0.3), "mart": Duration(15.0, 0.3)}
    world = simulate(Scenario(graph, durations, first_ticks={"two": 2.0}), 13 * 3600.0)

    found = figures(world, 3600.0, 13 * 3600.0)

    assert found.targets["mart"].share <= 0.001
    assert found.root_syncs <= 22.0


@pytest.mark.parametrize("tick", [5.0, 30.0])
def test_a_root_syncs_hardly_more_than_necessary_when_durations_are_steady(tick: float) -> None:
    graph = Graph(
        {
            "source": Asset("source", "one"),
            "mart": Asset("mart", "two", ("source",), MaxLag(5)),
        },
        {"one": tick, "two": tick},
    )
    durations = {"source": Duration(60.0), "mart": Duration(15.0)}
    world = simulate(Scenario(graph, durations), 9 * 3600.0)

    found = figures(world, 3600.0, 9 * 3600.0)

    assert 0.0 == found.targets["mart"].share
    assert found.root_syncs <= {5.0: 16.5, 30.0: 17.2}[tick]
