"""The planner's duties, in the order of the specification, each as a short story."""

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
    def test_the_root_starts_at_the_last_tick_from_which_the_target_is_in_time(self) -> None:
        # 300 s of lag, 75 s of path and 2 s of margin: no later than 223 s after the data.
        assert 220 == workspace().first_request(SYNC, within=300)

    def test_what_never_waited_for_a_tick_is_not_taken_to(self) -> None:
        # A sync, two models one after the other, and a sync (and a tick) before; 2 s of margin.
        assert 60 + 15 + 15 + 65 + 2 == workspace().plan.targets[JOIN].shortest

    def test_the_last_tick_is_that_of_a_slow_sensor(self) -> None:
        story = workspace()
        story = replace(story, graph=graph_of(*WORKSPACE, tick=30.0))

        assert SYNC not in story.at(180).requested
        assert SYNC in story.at(210).requested

    def test_a_source_that_varies_starts_earlier(self) -> None:
        steady_start = workspace().first_request(SYNC, within=300)
        story = workspace()
        state = story.states[SYNC]
        execution = replace(state.durations.execution, variance=18.0**2)
        varied = replace(state, durations=replace(state.durations, execution=execution))
        story = replace(story, states={**story.states, SYNC: varied})

        # By what twenty runs tell, the path takes 133.3 s at most, 99 times out of 100.
        assert 165 == story.first_request(SYNC, within=300)
        assert 220 == steady_start

    @pytest.mark.parametrize("runs", [10, 12, 20, 50, 100])
    def test_an_allowance_holds_99_times_in_100_however_few_runs_it_was_learnt_from(
        self, runs: int
    ) -> None:
        """Of as many runs the mean and the spread are measured; then another one is made."""
        chance = Random(runs)
        held = 0
        for _ in range(4_000):
            measured = Moments(0, 0.0, 0.0)
            for _ in range(runs):
                measured = including(measured, chance.gauss(60, 6))
            stage = stage_of(replace(steady(0), execution=measured), tick=5.0)
            held += chance.gauss(60, 6) <= stage.at_most

        assert held / 4_000 >= 0.99

    def test_without_history_a_stated_default_is_planned_with(self) -> None:
        story = workspace()
        states = {
            key: replace(state, durations=AssetState().durations)
            for key, state in story.states.items()
        }

        # 40 s a run by default (2 queued, 8 starting, 30 executing), a tick of waiting, and
        # three tenths of spread each.
        assert 175 == replace(story, states=states).first_request(SYNC, within=300)

    def test_a_cron_asks_for_new_data_at_its_ticks_only(self) -> None:
        report = Asset("report", "marts", ("source",), MaxLag(5, cron="0 * * * *"))
        story = Story(graph_of(Asset("source", "ingestion"), report), seconds={"source": 60.0})
        story = story.made("source", "report", data=0)

        # At 13:00 the data may be five minutes old: a sync begun at 12:58:40 is the last that
        # the report can be made from in time.
        assert 3600 - 80 == story.first_request("source", within=3600)

    def test_a_cron_is_read_in_its_own_time_zone(self) -> None:
        policy = MaxLag(5, cron="30 13 * * *", timezone="Europe/Berlin")  # 12:30 UTC in winter
        story = Story(graph_of(Asset("report", "marts", (), policy))).made("report", data=0)

        assert NOON + 1800 == story.plan.assets["report"].deadline


class TestInOrder:
    def test_a_model_starts_once_its_source_is_there(self) -> None:
        story = workspace().at(220).started(SYNC, USERS)
        assert set() == story.at(275).requested

        story = story.at(280).made(SYNC, USERS, data=220)
        assert {CUMULATIVE} == story.requested

    def test_nothing_runs_on_inputs_that_would_not_improve_it(self) -> None:
        # The join is due, but one of its two inputs holds nothing new.
        story = workspace().at(280).made(SYNC, USERS, data=220).made(CUMULATIVE, data=220)
        story = story.started(STARGAZER).at(590)

        assert JOIN not in story.requested
        assert "nothing new" in story.plan.assets[JOIN].reason or "waits" in (
            story.plan.assets[JOIN].reason
        )

    def test_the_first_run_of_all_goes_source_first(self) -> None:
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

    def test_a_slower_target_lets_a_sync_pass_that_it_does_not_need(self) -> None:
        story = workspace().at(280).made(SYNC, USERS, data=220)

        assert {CUMULATIVE} == story.requested

    def test_it_joins_the_last_sync_that_still_meets_its_deadline(self) -> None:
        assert {CUMULATIVE, STARGAZER} == self.second_sync().requested

    def test_it_follows_at_once(self) -> None:
        story = self.second_sync().after(15).made(CUMULATIVE, STARGAZER, data=440)

        assert {JOIN} == story.requested

    def test_what_is_due_together_in_one_location_goes_in_one_run(self) -> None:
        everything = [replace(asset, location="all") for asset in WORKSPACE]
        story = replace(workspace(), graph=graph_of(*everything)).at(220)

        assert {SYNC, USERS, CUMULATIVE} == story.requested
        assert {""} == {asset.run for asset in story.plan.assets.values() if asset.request}

    def test_the_slower_target_is_in_every_second_of_those_runs(self) -> None:
        everything = [replace(asset, location="all") for asset in WORKSPACE]
        story = replace(workspace(), graph=graph_of(*everything)).at(280)
        story = story.made(SYNC, USERS, CUMULATIVE, data=220).at(440)

        assert {SYNC, USERS, CUMULATIVE, STARGAZER, JOIN} == story.requested

    def test_no_run_is_joined_that_would_make_it_late(self) -> None:
        story = Story(
            graph_of(
                Asset("quick", "one"),
                Asset("slow", "one", (), MaxLag(4)),
                Asset("mart", "one", ("quick", "slow"), MaxLag(5)),
            ),
            seconds={"quick": 5.0, "slow": 200.0, "mart": 5.0},
        )
        # The mart cannot wait for the slow source, which a target of its own asks for.
        story = story.made("quick", "mart", data=0).made("slow", data=245).at(285)

        assert {"quick", "slow"} == story.requested

    def test_assets_that_are_made_together_are_requested_together(self) -> None:
        assert {SYNC, USERS} == workspace().at(220).requested

    def test_an_input_comes_in_time_for_the_run_that_another_input_asks_for(self) -> None:
        # The mart takes 90 s: once it has started for `slow`, it is too late for `quick`.
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


class TestAnythingCounts:
    def test_a_sync_made_by_hand_postpones_the_next_one(self) -> None:
        story = workspace().at(160).made(SYNC, USERS, data=100).made(CUMULATIVE, data=100)

        assert 320 == story.first_request(SYNC, within=600)

    def test_a_mart_made_by_hand_is_not_made_again(self) -> None:
        story = workspace().at(280).made(SYNC, USERS, data=220)
        assert {CUMULATIVE} == story.requested

        assert set() == story.made(CUMULATIVE, data=220).requested


class TestNeverTwice:
    @pytest.mark.parametrize("state", ["queued", "started"])
    def test_nothing_is_requested_that_is_already_in_the_making(self, state: str) -> None:
        story = workspace().at(220)
        assert {SYNC, USERS} == story.requested

        # Only one of the unit is said to be pending; the other one comes with it.
        assert set() == getattr(story, state)(SYNC).after(TICK).requested

    def test_the_same_snapshot_gives_the_same_plan(self) -> None:
        story = workspace().at(220)
        again = Snapshot(dict(story.snapshot.assets), dict(story.snapshot.seen))

        assert story.plan == plan(lineage_of(graph_of(*WORKSPACE)), again, story.now)

    def test_the_id_changes_with_what_happened_and_not_with_the_time(self) -> None:
        story = workspace()

        assert story.plan.id == story.after(5).plan.id
        assert story.plan.id != story.after(5).queued(SYNC).plan.id


class TestExplainable:
    def test_a_request_says_for_whom_and_by_when(self) -> None:
        asked = workspace().at(220).plan.assets[SYNC]

        assert (CUMULATIVE, NOON + 300, 3.0) == (asked.target, asked.deadline, asked.slack)
        assert f"{CUMULATIVE} needs newer data by 12:05:00, 1 min 17 s from its start" == (
            asked.reason
        )

    def test_an_idle_tick_says_what_is_next_and_when(self) -> None:
        story = workspace().at(180)

        assert f"next: {SYNC} in 43 s for {CUMULATIVE} (due 12:05:00)" == idle_message(
            story.plan, "ingestion", story.graph
        )

    def test_every_asset_has_a_reason(self) -> None:
        for seconds in range(0, 700, 35):
            story = workspace().at(seconds)
            assert all(asset.reason for asset in story.plan.assets.values())

    def test_a_late_target_names_who_is_at_it(self) -> None:
        story = workspace().at(250).started(SYNC, USERS).at(320)
        target = story.plan.targets[CUMULATIVE]

        assert TargetStatus.LATE is target.status
        assert target.blame is not None
        assert ("ingestion", SYNC, "execution") == (
            target.blame.location,
            target.blame.asset,
            target.blame.phase,
        )
        assert f"20 s over its 5 min: {SYNC} has been running for 1 min 10 s" == target.reason

    @pytest.mark.parametrize(
        ("launched", "phase", "doing"), [(False, "queue", "queued"), (True, "start", "starting")]
    )
    def test_a_run_that_has_not_begun_is_queued_or_starting(
        self, launched: bool, phase: str, doing: str
    ) -> None:
        story = workspace().at(250).queued(SYNC, USERS)
        story = story.launched(SYNC, USERS) if launched else story
        target = story.at(320).plan.targets[CUMULATIVE]

        assert target.blame is not None
        assert (SYNC, phase) == (target.blame.asset, target.blame.phase)
        assert f"{SYNC} has been {doing} for 1 min 10 s" in target.reason

    def test_who_comes_first_in_the_same_run_is_the_one_at_it(self) -> None:
        story = workspace().at(620).queued(CUMULATIVE, JOIN).started(CUMULATIVE).at(640)
        target = story.plan.targets[JOIN]

        assert target.blame is not None
        assert (CUMULATIVE, "execution") == (target.blame.asset, target.blame.phase)

    def test_a_lag_is_what_the_policy_allows_until_it_is_more(self) -> None:
        assert TargetStatus.FRESH is workspace().at(300).plan.targets[CUMULATIVE].status
        assert TargetStatus.LATE is workspace().at(301).plan.targets[CUMULATIVE].status


def test_no_policy_no_plan() -> None:
    story = Story(graph_of(Asset("table", "somewhere")))

    assert {} == story.plan.assets
    assert {} == story.plan.targets
    assert "no policy needs anything here" == idle_message(story.plan, "somewhere", story.graph)


def test_an_empty_graph_has_an_empty_plan() -> None:
    assert {} == plan(lineage_of(Graph({})), Snapshot({}), NOON).assets
