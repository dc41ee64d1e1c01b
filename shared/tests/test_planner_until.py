"""A plan says until when it stays as it is if nothing happens."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from freshline.model import Asset, Pause, Plan, Snapshot, TargetStatus
from freshline.planner import Lineage, plan, silent_locations
from freshline.policy import MaxLag
from freshline.simulate import ByPlan, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planner_stories import NOON, SYNC, TICK, Story, graph_of, workspace
from planner_worlds import random_scenario, with_crons, with_limits, with_partitions

HOUR = 3600.0


def said(plan: Plan) -> object:
    """Return all that a plan says but what moves with the clock."""
    assets = {
        key: replace(
            asset,
            slack=None,
            due=None if asset.due == plan.now else asset.due,
            expected=None if asset.expected == plan.now else asset.expected,
        )
        for key, asset in plan.assets.items()
    }
    targets = {key: replace(target, lag=None) for key, target in plan.targets.items()}
    return plan.id, assets, targets


def before(until: float, now: float, random: Random) -> list[float]:
    """Return some times from `now` until just before `until`."""
    last = min(until - 1e-3, now + 6 * HOUR)
    return [random.uniform(now, last), last] if last > now else []


def kept(lineage: Lineage, snapshot: Snapshot, now: float, random: Random) -> int:
    """Assert that the plan stays as it is; return at how many times that was looked at."""
    found = plan(lineage, snapshot, now)
    silent = silent_locations(lineage.graph, snapshot, now)
    times = [
        time
        for time in before(found.until, now, random)
        if silent_locations(lineage.graph, snapshot, time) == silent
    ]
    for time in times:
        assert said(plan(lineage, snapshot, time)) == said(found), time - now
    return len(times)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), crons=st.booleans(), parts=st.booleans(), limits=st.booleans())
def test_a_plan_stays_as_it_is_until_it_says(
    seed: int, crons: bool, parts: bool, limits: bool
) -> None:
    random = Random(seed)
    scenario = random_scenario(seed, sigma=0.3, troubles=seed % 3 > 0)
    scenario = with_crons(scenario) if crons else scenario
    scenario = with_limits(scenario) if limits else scenario
    world = World(with_partitions(scenario) if parts else scenario, ByPlan())
    names = [*scenario.graph.assets, *scenario.graph.ticks]
    for _ in range(20):
        world.advance(world.now + random.uniform(1.0, 300.0))
        snapshot = world.snapshot()
        if random.random() < 0.3:
            pause = Pause(world.now + random.uniform(0.0, 100.0), "maintenance")
            snapshot = replace(snapshot, pauses={random.choice(names): pause})

        kept(world.lineage, snapshot, world.now, random)


def test_a_plan_stays_until_the_last_tick_before_the_next_start() -> None:
    story = workspace().after(30.0)
    due = story.plan.assets[SYNC].due

    assert due is not None
    assert due - TICK == story.plan.until


def test_a_plan_with_a_request_may_change_at_once() -> None:
    story = workspace().at(295.0)

    assert story.plan.until == story.now


def test_a_plan_with_a_run_stays_until_the_run_should_end() -> None:
    story = workspace().at(170.0).started(SYNC)

    assert NOON + 230.0 <= story.plan.until <= NOON + 300.0


def test_a_run_that_takes_longer_than_expected_does_not_make_every_tick_plan_anew() -> None:
    root, mart = Asset("root", "ingestion"), Asset("mart", "marts", ("root",), MaxLag(5))
    story = Story(graph_of(root, mart), seconds={"root": 60.0}).made("root", "mart", data=0)
    late = story.at(200.0).started("root").at(600.0)

    assert TargetStatus.LATE is late.plan.targets["mart"].status
    assert late.plan.until > late.now + HOUR


def test_a_paused_location_is_asked_for_when_the_pause_ends() -> None:
    story = workspace().paused("analytics_marts", until=20.0)

    assert NOON + 20.0 == story.plan.until
