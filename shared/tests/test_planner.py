"""What the planner does while everything runs, each rule as a short story."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from freshline.model import Asset, AssetState, Graph, Moments, Snapshot, TargetStatus
from freshline.planner import idle_message, lineage_of, plan
from freshline.planner.estimate import stage_of
from freshline.planner.moments import including
from freshline.policy import MaxLag
from planner_stories import (
    CUMULATIVE,
    JOIN,
    NOON,
    STARGAZER,
    SYNC,
    TICK,
    USERS,
    WORKSPACE,
    Story,
    graph_of,
    steady,
    workspace,
)


class TestJustInTime:
    def test_a_root_starts_at_the_last_tick_that_keeps_its_target_in_time(self) -> None:
        # 300 s of lag, 75 s of path and 2 s of margin: no later than 223 s after the data.
        assert 220 == workspace().first_request(SYNC, within=300)

    def test_an_asset_whose_inputs_never_waited_has_no_wait_in_its_shortest_lag(self) -> None:
        # A sync, two models one after the other, the sync and the tick before it, 2 s of margin.
        assert 60 + 15 + 15 + 65 + 2 == workspace().plan.targets[JOIN].shortest

    def test_a_root_starts_earlier_when_its_location_ticks_seldom(self) -> None:
        story = workspace()
        story = replace(story, graph=graph_of(*WORKSPACE, tick=30.0))

        assert SYNC not in story.at(180).requested
        assert SYNC in story.at(210).requested

    def test_a_root_starts_earlier_when_its_durations_vary(self) -> None:
        steady_start = workspace().first_request(SYNC, within=300)
        story = workspace()
        state = story.states[SYNC]
        execution = replace(state.durations.execution, variance=18.0**2)
        varied = replace(state, durations=replace(state.durations, execution=execution))
        story = replace(story, states={**story.states, SYNC: varied})

        # From twenty runs: 984 times out of 1,000, the path takes 127.5 s at most.
        assert 170 == story.first_request(SYNC, within=300)
        assert 220 == steady_start

    @pytest.mark.parametrize("runs", [10, 12, 20, 50, 100])
    def test_an_allowance_holds_984_times_in_1000_when_few_runs_were_measured(
        self, runs: int
    ) -> None:
        """Measure some runs; then see whether one more run is within the allowance."""
        chance = Random(runs)
        held = 0
        for _ in range(4_000):
            measured = Moments(0, 0.0, 0.0)
            for _ in range(runs):
                measured = including(measured, chance.gauss(60, 6))
            stage = stage_of(replace(steady(0), execution=measured), tick=5.0)
            held += chance.gauss(60, 6) <= stage.at_most

        assert held / 4_000 >= 0.984

    def test_a_plan_assumes_default_durations_when_nothing_was_measured(self) -> None:
        story = workspace()
        states = {
            key: replace(state, durations=AssetState().durations)
            for key, state in story.states.items()
        }

        # By default a run takes 40 s (2 queued, 8 starting, 30 executing) after a tick of waiting,
        # with a spread of three tenths each.
        assert 180 == replace(story, states=states).first_request(SYNC, within=300)

    def test_a_cron_needs_newer_data_only_at_its_ticks(self) -> None:
        report = Asset("report", "marts", ("source",), MaxLag(5, cron="0 * * * *"))
        story = Story(graph_of(Asset("source", "ingestion"), report), seconds={"source": 60.0})
        story = story.made("source", "report", data=0)

        # At 13:00 the data may be five minutes old. The last sync from which the report can be
        # made in time begins at 12:58:40.
        assert 3600 - 80 == story.first_request("source", within=3600)

    def test_a_cron_is_read_in_its_own_time_zone(self) -> None:
        policy = MaxLag(5, cron="30 13 * * *", timezone="Europe/Berlin")  # 12:30 UTC in winter
        story = Story(graph_of(Asset("report", "marts", (), policy))).made("report", data=0)

        assert NOON + 1800 == story.plan.assets["report"].deadline


class TestInOrder:
    def test_a_model_starts_when_its_source_is_made(self) -> None:
        story = workspace().at(220).started(SYNC, USERS)
        assert set() == story.at(275).requested

        story = story.at(280).made(SYNC, USERS, data=220)
        assert {CUMULATIVE} == story.requested

    def test_an_asset_does_not_start_while_one_of_its_inputs_is_no_newer(self) -> None:
        # The join is due, but one of its two inputs holds nothing new.
        story = workspace().at(280).made(SYNC, USERS, data=220).made(CUMULATIVE, data=220)
        story = story.started(STARGAZER).at(590)

        assert JOIN not in story.requested
        assert "nothing new" in story.plan.assets[JOIN].reason or "waits" in (
            story.plan.assets[JOIN].reason
        )

    def test_assets_are_made_from_source_to_mart_when_nothing_exists(self) -> None:
        story = Story(graph_of(*WORKSPACE), seconds={SYNC: 60.0, USERS: 60.0})
        assert {SYNC, USERS} == story.requested

        story = story.after(60).made(SYNC, USERS, data=0)
        assert {STARGAZER, CUMULATIVE} == story.requested

        story = story.after(15).made(STARGAZER, CUMULATIVE, data=0)
        assert {JOIN} == story.requested


class TestSharedWork:
    def second_sync(self) -> Story:
        story = workspace().at(280).made(SYNC, USERS, data=220).made(CUMULATIVE, data=220)
        return story.at(500).made(SYNC, USERS, data=440)

    def test_a_slower_target_skips_a_sync_that_it_does_not_need(self) -> None:
        story = workspace().at(280).made(SYNC, USERS, data=220)

        assert {CUMULATIVE} == story.requested

    def test_a_slower_target_uses_the_last_sync_that_meets_its_deadline(self) -> None:
        assert {CUMULATIVE, STARGAZER} == self.second_sync().requested

    def test_a_slower_target_starts_when_its_inputs_are_made(self) -> None:
        story = self.second_sync().after(15).made(CUMULATIVE, STARGAZER, data=440)

        assert {JOIN} == story.requested

    def test_assets_of_one_location_go_into_one_run_when_due_together(self) -> None:
        everything = [replace(asset, location="all") for asset in WORKSPACE]
        story = replace(workspace(), graph=graph_of(*everything)).at(220)

        assert {SYNC, USERS, CUMULATIVE} == story.requested
        assert {""} == {asset.run for asset in story.plan.assets.values() if asset.request}

    def test_a_slower_target_goes_into_every_second_run_of_its_location(self) -> None:
        everything = [replace(asset, location="all") for asset in WORKSPACE]
        story = replace(workspace(), graph=graph_of(*everything)).at(280)
        story = story.made(SYNC, USERS, CUMULATIVE, data=220).at(440)

        assert {SYNC, USERS, CUMULATIVE, STARGAZER, JOIN} == story.requested

    def test_an_asset_does_not_join_a_run_that_would_make_it_late(self) -> None:
        story = Story(
            graph_of(
                Asset("quick", "one"),
                Asset("slow", "one", (), MaxLag(8)),
                Asset("mart", "one", ("quick", "slow"), MaxLag(8)),
            ),
            seconds={"quick": 5.0, "slow": 200.0, "mart": 5.0},
        )
        # The mart cannot wait for the slow source, which is a target itself.
        story = story.made("quick", "mart", data=0).made("slow", data=190).at(465)

        assert {"quick", "slow"} == story.requested

    def test_the_assets_of_an_execution_set_are_requested_together(self) -> None:
        assert {SYNC, USERS} == workspace().at(220).requested

    def test_an_input_starts_earlier_when_another_input_needs_a_run_before(self) -> None:
        # The mart takes 90 s. When it runs because of `slow`, a run because of `quick` is too late.
        story = (
            Story(
                graph_of(
                    Asset("quick", "one"),
                    Asset("slow", "two"),
                    Asset("mart", "three", ("quick", "slow"), MaxLag(8)),
                ),
                seconds={"quick": 5.0, "slow": 60.0, "mart": 90.0},
            )
            .made("slow", "mart", data=0)
            .made("quick", data=35)
        )
        alone = 35 + 480 - 95 - 2

        start = story.first_request("quick", within=600)

        assert start is not None
        assert alone - TICK > start
        assert start + 5 <= 480 - 90


class TestRunsByHand:
    def test_a_sync_by_hand_postpones_the_next_one(self) -> None:
        story = workspace().at(160).made(SYNC, USERS, data=100).made(CUMULATIVE, data=100)

        assert 320 == story.first_request(SYNC, within=600)

    def test_a_mart_made_by_hand_is_not_made_again(self) -> None:
        story = workspace().at(280).made(SYNC, USERS, data=220)
        assert {CUMULATIVE} == story.requested

        assert set() == story.made(CUMULATIVE, data=220).requested


class TestNeverTwice:
    @pytest.mark.parametrize("state", ["queued", "started"])
    def test_an_asset_is_not_requested_while_a_run_makes_it(self, state: str) -> None:
        story = workspace().at(220)
        assert {SYNC, USERS} == story.requested

        # Only one asset of the execution set is pending; the other is made with it.
        assert set() == getattr(story, state)(SYNC).after(TICK).requested

    def test_the_same_snapshot_gives_the_same_plan(self) -> None:
        story = workspace().at(220)
        again = Snapshot(dict(story.snapshot.assets), dict(story.snapshot.seen))

        assert story.plan == plan(lineage_of(graph_of(*WORKSPACE)), again, story.now)

    def test_a_plan_id_changes_with_events_and_not_with_the_time(self) -> None:
        story = workspace()

        assert story.plan.id == story.after(5).plan.id
        assert story.plan.id != story.after(5).queued(SYNC).plan.id


class TestExplainable:
    def test_a_request_names_its_target_and_its_deadline(self) -> None:
        asked = workspace().at(220).plan.assets[SYNC]

        assert (CUMULATIVE, NOON + 300, 3.0) == (asked.target, asked.deadline, asked.slack)
        assert f"{CUMULATIVE} needs newer data by 12:05:00 UTC, 1 min 17 s from its start" == (
            asked.reason
        )
        assert "latest start" == asked.cause

    def test_what_is_requested_after_its_inputs_names_no_time(self) -> None:
        story = workspace().at(220).made(SYNC, USERS, data=160)
        cumulative = story.plan.assets[CUMULATIVE]

        assert (True, "new inputs") == (cumulative.request, cumulative.cause)

    def test_an_asset_that_is_not_requested_has_no_cause(self) -> None:
        assert {""} == {asset.cause for asset in workspace().plan.assets.values()}

    def test_a_plan_says_by_when_the_next_version_is_expected(self) -> None:
        story = workspace().at(220)
        expected = story.plan.assets[SYNC].expected

        assert expected is not None
        assert NOON + 220 + 60 <= expected <= NOON + 300

    def test_an_idle_message_names_the_next_asset_and_when_it_starts(self) -> None:
        story = workspace().at(180)

        assert f"next: {SYNC} in 43 s for {CUMULATIVE} (due 12:05:00 UTC)" == idle_message(
            story.plan, "ingestion", lineage_of(story.graph)
        )

    def test_the_deadline_of_a_cron_is_written_in_its_own_time_zone(self) -> None:
        policy = MaxLag(60, cron="0 9 * * 1-5", timezone="America/Los_Angeles")
        asset = Asset("report", "marts", (), policy)
        story = Story(graph_of(asset), now=NOON + 86_400).made("report", data=86_400)
        due = "17 Nov 09:00 America/Los_Angeles"

        # At noon in UTC it is four in the morning there.
        assert "good until 09:00:00 America/Los_Angeles" == story.plan.targets["report"].reason
        assert f"for report (due Fri {due})" in idle_message(
            story.made("report", data=86_400 + 6 * 3600).plan, "marts", lineage_of(story.graph)
        )

    def test_a_deadline_on_another_day_has_its_date(self) -> None:
        story = Story(graph_of(Asset("report", "marts", (), MaxLag(9 * 1440))))
        target = story.made("report", data=0).plan.targets["report"]

        assert "good until Fri 24 Nov 12:00 UTC" == target.reason

    def test_every_asset_has_a_reason(self) -> None:
        for seconds in range(0, 700, 35):
            story = workspace().at(seconds)
            assert all(asset.reason for asset in story.plan.assets.values())

    def test_a_late_target_names_the_asset_in_progress(self) -> None:
        story = workspace().at(250).started(SYNC, USERS).at(320)
        target = story.plan.targets[CUMULATIVE]

        assert TargetStatus.LATE is target.status
        assert target.blame is not None
        assert ("ingestion", SYNC, "execution") == (
            target.blame.location,
            target.blame.asset,
            target.blame.phase,
        )
        assert (
            f"over its 5 min since 12:05:00 UTC: {SYNC} has been running since 12:04:10 UTC"
            == target.reason
        )

    @pytest.mark.parametrize(
        ("launched", "phase", "doing"), [(False, "queue", "queued"), (True, "start", "starting")]
    )
    def test_a_late_target_names_an_asset_that_is_queued_or_starting(
        self, launched: bool, phase: str, doing: str
    ) -> None:
        story = workspace().at(250).queued(SYNC, USERS)
        story = story.launched(SYNC, USERS) if launched else story
        target = story.at(320).plan.targets[CUMULATIVE]

        assert target.blame is not None
        assert (SYNC, phase) == (target.blame.asset, target.blame.phase)
        assert f"{SYNC} has been {doing} since 12:04:10 UTC" in target.reason

    @pytest.mark.parametrize("trying", [False, True])
    def test_a_late_target_says_why_a_run_cannot_be_launched(self, trying: bool) -> None:
        """While Dagster tries again, the run has left its queue for a moment."""
        why = "no worker of ingestion since 12:03:00 UTC"
        story = workspace().at(250).queued(SYNC, USERS).put_back(SYNC, USERS, why=why).at(320)
        plan = (story.launched(SYNC, USERS) if trying else story).plan
        blame = plan.targets[CUMULATIVE].blame

        assert blame is not None
        assert (SYNC, "queue", NOON + 250) == (blame.asset, blame.phase, blame.since)
        assert f"{SYNC} has been queued since 12:04:10 UTC: {why}" == blame.message
        assert f"queued since 12:04:10 UTC, {why}" == plan.assets[SYNC].reason

    def test_a_run_that_begins_after_all_says_nothing_of_earlier_attempts(self) -> None:
        story = workspace().at(250).queued(SYNC).put_back(SYNC, why="no worker").at(320)
        blame = story.started(SYNC, USERS).at(330).plan.targets[CUMULATIVE].blame

        assert blame is not None
        assert f"{SYNC} has been running since 12:05:20 UTC" == blame.message

    def test_a_late_target_names_the_asset_that_its_run_makes_first(self) -> None:
        story = workspace().at(620).queued(CUMULATIVE, JOIN).started(CUMULATIVE).at(640)
        target = story.plan.targets[JOIN]

        assert target.blame is not None
        assert (CUMULATIVE, "execution") == (target.blame.asset, target.blame.phase)

    def test_a_target_is_late_only_above_its_maximum_lag(self) -> None:
        assert TargetStatus.FRESH is workspace().at(300).plan.targets[CUMULATIVE].status
        assert TargetStatus.LATE is workspace().at(301).plan.targets[CUMULATIVE].status


@pytest.mark.parametrize("seconds", [180, 200, 235])
def test_a_measured_tick_counts_as_if_it_were_declared(seconds: float) -> None:
    story = workspace().at(seconds)
    lineage, really = lineage_of(story.graph), dict.fromkeys(story.graph.ticks, 30.0)
    slow = plan(lineage_of(replace(story.graph, ticks=really)), story.snapshot, story.now)
    measured = plan(lineage, replace(story.snapshot, ticks=really), story.now)

    assert (slow.assets, slow.targets) == (measured.assets, measured.targets)
    assert story.plan == plan(lineage, story.snapshot, story.now)
    assert story.plan.targets != measured.targets
    assert (seconds == 200) is (
        measured.assets[SYNC].request is not story.plan.assets[SYNC].request
    )
    assert story.plan.id != measured.id


def test_a_graph_without_policies_has_an_empty_plan() -> None:
    story = Story(graph_of(Asset("table", "somewhere")))

    assert {} == story.plan.assets
    assert {} == story.plan.targets
    assert "no policy needs anything here" == idle_message(
        story.plan, "somewhere", lineage_of(story.graph)
    )


def test_an_empty_graph_has_an_empty_plan() -> None:
    assert {} == plan(lineage_of(Graph({})), Snapshot({}), NOON).assets
