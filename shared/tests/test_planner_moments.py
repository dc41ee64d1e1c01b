"""What the planner learns: how long things take, and how often locations really tick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from freshline.model import Graph, Moments, Phase
from freshline.planner import lineage_of, plan
from freshline.planner.estimate import stage_of
from freshline.planner.moments import including, measure
from freshline.simulate import Change, Duration, Scenario, figures, simulate
from planner_stories import CUMULATIVE, SYNC, USERS, WORKSPACE, graph_of, steady, workspace

HOUR = 3_600.0
SECONDS = {asset.key: Duration(15.0) for asset in WORKSPACE} | {
    SYNC: Duration(60.0),
    USERS: Duration(60.0),
}
"""How long each asset of the workspace executes."""


def measured(*seconds: float, after: Moments | None = None) -> Moments:
    """Return what is known when runs took so many seconds each."""
    known = after or Moments(0, 0.0, 0.0)
    for each in seconds:
        known = including(known, each)
    return known


def at_most(execution: Moments) -> float:
    """Return the seconds that a run is allowed."""
    return stage_of(replace(steady(0), execution=execution), tick=5.0).at_most


class TestChanges:
    MONTHS = measured(*[60.0] * 300)
    SPREAD = Moments(300, 60.0, 18.0**2)

    @pytest.mark.parametrize("seconds", [120.0, 30.0, 70.0])
    def test_another_duration_is_known_after_three_runs(self, seconds: float) -> None:
        changed = measured(*[seconds] * 3, after=self.MONTHS)

        assert seconds == changed.mean
        assert seconds + 2 == at_most(changed)

    def test_a_change_back_is_known_after_three_runs(self) -> None:
        doubled = measured(*[120.0] * 50, after=self.MONTHS)

        assert 60.0 == measured(60.0, 60.0, 60.0, after=doubled).mean

    def test_one_accident_is_not_a_change(self) -> None:
        slept = measured(8 * HOUR, after=self.MONTHS)

        assert slept.mean < 62
        assert measured(60.0, after=slept).mean < 62

    def test_three_accidents_in_a_row_are_soon_forgotten(self) -> None:
        slept = measured(*[8 * HOUR] * 3, after=self.MONTHS)

        assert slept.mean < 300
        assert at_most(measured(*[60.0] * 20, after=slept)) < 200

    def test_runs_as_long_as_usual_are_no_evidence_of_a_change(self) -> None:
        # Each is longer than the mean, by less than a standard deviation.
        longer = measured(*[70.0] * 20, after=self.SPREAD)

        assert longer.mean < 62

    def test_runs_on_the_other_side_take_evidence_away(self) -> None:
        mixed = measured(*[100.0, 30.0] * 10, after=self.SPREAD)

        assert 65 == pytest.approx(mixed.mean, abs=5)

    def test_after_a_change_each_run_counts_as_one_of_the_newest(self) -> None:
        changed = measured(*[120.0] * 3, after=self.MONTHS)

        assert 118 == measured(112.0, after=changed).mean

    def test_what_varied_before_is_taken_to_vary_as_much_after_a_change(self) -> None:
        changed = measured(*[150.0] * 3, after=self.SPREAD)

        assert 150.0 == changed.mean
        assert (0.3 * 150.0) ** 2 == changed.variance

    def test_a_mean_of_three_runs_is_less_certain_than_one_of_many(self) -> None:
        changed = measured(*[150.0] * 3, after=self.SPREAD)

        assert at_most(changed) > 1.05 * at_most(replace(changed, mean_of=None))

    def test_durations_that_vary_as_ever_are_hardly_ever_taken_for_a_change(self) -> None:
        chance, known = Random(1), Moments(0, 0.0, 0.0)
        changes = 0
        for _ in range(20_000):
            seconds = Duration(60.0, 0.3).sample(chance)
            before, known = known, including(known, seconds)
            changes += (known.mean_of or 0) < (before.mean_of or 0)

        assert changes < 20

    @pytest.mark.parametrize("factor", [1.5, 2.0])
    def test_a_target_is_late_three_times_at_most_when_all_takes_longer_at_once(
        self, factor: float
    ) -> None:
        changes = tuple(
            Change(6 * HOUR, key, Duration(one.mean * factor)) for key, one in SECONDS.items()
        )
        world = simulate(Scenario(graph_of(*WORKSPACE), SECONDS, changes=changes), 12 * HOUR)

        assert 1 <= sum(self.late(world.versions[CUMULATIVE])) <= 3
        assert 0.0 == figures(world, 6.5 * HOUR, 12 * HOUR).targets[CUMULATIVE].share

    @staticmethod
    def late(versions: Iterable[tuple[float, float | None]]) -> list[bool]:
        """Return of each version but the first whether it came when the one before was too old."""
        return [at - (data or 0.0) > 300 for (_, data), (at, _) in pairwise(versions)]

    def test_a_source_that_became_faster_is_synced_less_often(self) -> None:
        changes = tuple(
            Change(6 * HOUR, key, Duration(one.mean / 2)) for key, one in SECONDS.items()
        )
        world = simulate(Scenario(graph_of(*WORKSPACE), SECONDS, changes=changes), 12 * HOUR)

        assert 16.0 < figures(world, 4 * HOUR, 6 * HOUR).root_syncs
        assert figures(world, 7 * HOUR, 12 * HOUR).root_syncs < 14.5


class TestTicks:
    LOCATIONS = ("ingestion", "analytics_core", "analytics_marts")

    def test_a_root_starts_earlier_when_its_location_was_seen_to_tick_seldom(self) -> None:
        story = workspace().at(210)
        seen = replace(story.snapshot, ticks={"ingestion": 30.0})

        assert not story.plan.assets[SYNC].request
        assert plan(lineage_of(story.graph), seen, story.now).assets[SYNC].request

    def test_a_location_that_ticks_more_often_than_it_declares_counts_as_declared(self) -> None:
        story = workspace().at(210)
        seen = replace(story.snapshot, ticks={"ingestion": 1.0})

        assert story.plan.assets == plan(lineage_of(story.graph), seen, story.now).assets

    def test_ticks_that_are_late_cost_no_more_than_ticks_declared_as_late(self) -> None:
        def simulated(graph: Graph, **real: float) -> tuple[float, float]:
            world = simulate(Scenario(graph, SECONDS, real_ticks=real), 5 * HOUR)
            found = figures(world, HOUR, 5 * HOUR)
            return found.targets[CUMULATIVE].share, found.root_syncs

        assert (0.0, 17.0) == simulated(graph_of(*WORKSPACE, tick=30.0))
        late = dict.fromkeys(self.LOCATIONS, 30.0)
        assert (0.0, 17.0) == simulated(graph_of(*WORKSPACE), **late)


@pytest.mark.parametrize("ahead", [-60.0, 0.0, 60.0])
def test_a_daemon_with_another_clock_makes_no_run_longer(ahead: float) -> None:
    phases = measure(
        ready_at=None,
        requested_at=100.0,
        launched_at=102.0 + ahead,
        started_at=105.0,
        materialized_at=115.0,
        tick=5.0,
    )

    assert 5.0 == phases[Phase.QUEUE] + phases[Phase.START]
    assert 10.0 == phases[Phase.EXECUTION]
