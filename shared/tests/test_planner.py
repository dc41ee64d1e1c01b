"""The planner's duties, in the order of the specification, each as a short story."""

from __future__ import annotations

from dataclasses import replace

import pytest
from freshline.model import Asset, AssetState, Graph, Snapshot, TargetStatus
from freshline.planner import RETRY_CEILING, RETRY_FIRST, SILENT_AFTER, idle_message, plan
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
    workspace,
)


class TestJustInTime:
    def test_the_root_starts_at_the_last_tick_from_which_the_target_is_in_time(self) -> None:
        # 300 s of lag, 75 s of path and 2 s of margin: no later than 223 s after the data.
        assert 220 == workspace().first_request(SYNC, within=300)

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

        # The path takes 126.5 s at most, 99 times out of 100.
        assert 170 == story.first_request(SYNC, within=300)
        assert 220 == steady_start

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

        assert story.plan == plan(graph_of(*WORKSPACE), again, story.now)

    def test_the_id_changes_with_what_happened_and_not_with_the_time(self) -> None:
        story = workspace()

        assert story.plan.id == story.after(5).plan.id
        assert story.plan.id != story.after(5).queued(SYNC).plan.id


class TestNoHammering:
    def test_each_failure_doubles_the_pause_up_to_a_ceiling(self) -> None:
        story = workspace().at(220)
        for failures in range(1, 8):
            story = story.failed(SYNC)
            pause = min(RETRY_CEILING, RETRY_FIRST * 2 ** (failures - 1))

            assert set() == story.after(pause - 1).requested
            assert {SYNC, USERS} == story.after(pause).requested
            story = story.after(pause)

    def test_one_success_resets_it(self) -> None:
        story = workspace().at(220).failed(SYNC).after(30).failed(SYNC).after(60)
        story = story.made(SYNC, USERS, CUMULATIVE, data=310).at(500).failed(SYNC)

        assert SYNC not in story.at(529).requested
        assert {SYNC, USERS} <= story.at(530).requested

    def test_a_failure_stops_nothing_that_does_not_depend_on_it(self) -> None:
        story = workspace().at(500).made(SYNC, USERS, data=440).failed(STARGAZER)

        assert {CUMULATIVE} == story.requested

    def test_the_target_names_who_holds_it_up(self) -> None:
        story = workspace().at(500).failed(STARGAZER, "relation does not exist").at(700)
        target = story.plan.targets[JOIN]

        assert TargetStatus.BLOCKED is target.status
        assert target.blame is not None
        assert ("analytics_core", STARGAZER, "failing", NOON + 500) == (
            target.blame.location,
            target.blame.asset,
            target.blame.phase,
            target.blame.since,
        )
        assert "relation does not exist" in target.reason

    def test_a_target_that_is_still_in_time_is_fresh_and_warns(self) -> None:
        target = workspace().at(500).failed(STARGAZER).plan.targets[JOIN]

        assert TargetStatus.FRESH is target.status
        assert STARGAZER in target.reason

    def test_a_failing_model_does_not_pull_its_source_again_and_again(self) -> None:
        without_cumulative = [
            replace(asset, policy=None) if asset.key == CUMULATIVE else asset for asset in WORKSPACE
        ]
        story = replace(workspace(), graph=graph_of(*without_cumulative))
        story = story.at(520).made(SYNC, USERS, CUMULATIVE, data=460).failed(STARGAZER)

        assert {STARGAZER} == story.at(5000).requested

    def test_not_even_while_it_is_tried_again(self) -> None:
        story = workspace().at(280).made(SYNC, USERS, data=220).failed(CUMULATIVE)
        story = story.at(1000).queued(CUMULATIVE).at(1005)
        story = story.made(STARGAZER, data=220)

        assert SYNC not in story.requested


class TestOutages:
    def silent(self, location: str, heard: float) -> Story:
        story = workspace()
        for asset in WORKSPACE:
            story = story.last_heard(asset.location, 10_000)
        return story.last_heard(location, heard)

    def test_the_others_go_on(self) -> None:
        story = self.silent("analytics_core", heard=0).at(220 + SILENT_AFTER)

        assert {SYNC, USERS} == story.requested

    def test_a_location_that_is_not_heard_of_never_looks_fresh(self) -> None:
        story = self.silent("analytics_core", heard=0)
        before = story.at(SILENT_AFTER).plan.targets
        after = story.at(SILENT_AFTER + 1).plan.targets

        assert TargetStatus.FRESH is before[JOIN].status
        assert TargetStatus.BLOCKED is after[JOIN].status
        assert after[JOIN].blame is not None
        assert "silent" == after[JOIN].blame.phase
        assert TargetStatus.FRESH is after[CUMULATIVE].status

    def test_its_policies_pull_one_more_version_and_then_no_more(self) -> None:
        story = self.silent("analytics_marts", heard=0).at(300)
        assert {SYNC, USERS} == story.requested

        story = story.at(360).made(SYNC, USERS, data=300)
        # The core's model has a use once, too: then both versions wait for the marts.
        assert {STARGAZER} == story.requested
        story = story.at(375).made(STARGAZER, data=300)
        assert set() == story.at(50_000).requested

    def test_when_it_is_back_there_is_one_run_an_asset(self) -> None:
        story = self.silent("analytics_marts", heard=0).at(360).made(SYNC, USERS, data=300)
        story = story.at(5000).last_heard("analytics_marts", 5000)
        for asset in WORKSPACE:
            story = story.last_heard(asset.location, 5000)

        # What waits is too old by now: a new sync first, and one run of each model after it.
        assert {SYNC, USERS} == story.requested
        story = story.started(SYNC, USERS).after(TICK)
        assert set() == story.requested
        story = story.after(55).made(SYNC, USERS, data=5000)
        assert {CUMULATIVE, STARGAZER} == story.requested

    def test_after_a_short_outage_the_version_that_waits_is_used(self) -> None:
        story = self.silent("analytics_marts", heard=0).at(360).made(SYNC, USERS, data=300)
        story = story.at(400).last_heard("analytics_marts", 400)

        assert CUMULATIVE in story.requested


class TestImpossiblePolicies:
    def impossible(self) -> Story:
        tight = [
            replace(asset, policy=MaxLag(1)) if asset.key == CUMULATIVE else asset
            for asset in WORKSPACE
        ]
        return replace(workspace(), graph=graph_of(*tight))

    def test_it_is_said_with_the_figures(self) -> None:
        target = self.impossible().plan.targets[CUMULATIVE]

        # 75 s of path, 65 s between two syncs (60 s and a tick), 2 s of margin.
        assert TargetStatus.INFEASIBLE is target.status
        assert 142.0 == target.shortest
        assert "at most 1 min asked, but its path can hold 2 min 22 s at best" == target.reason

    def test_it_is_not_said_before_everything_was_measured(self) -> None:
        story = self.impossible()
        unmeasured = replace(story.states[SYNC], durations=AssetState().durations)
        story = replace(story, states={**story.states, SYNC: unmeasured, USERS: unmeasured})

        assert TargetStatus.INFEASIBLE is not story.plan.targets[CUMULATIVE].status

    def test_its_assets_run_back_to_back_at_most(self) -> None:
        story = self.impossible()
        assert {SYNC, USERS} == story.requested
        story = story.at(60).made(SYNC, USERS, data=0)
        story = story.at(65).queued(SYNC).at(125).made(SYNC, USERS, data=65)
        assert CUMULATIVE in story.requested

        # One version waits already; another one would have no use yet.
        assert {SYNC, USERS}.isdisjoint(story.requested)
        # As soon as that one is taken, it has.
        assert {SYNC, USERS} <= story.queued(CUMULATIVE).requested

    def test_the_policies_beside_it_are_held(self) -> None:
        target = self.impossible().plan.targets[JOIN]

        assert TargetStatus.FRESH is target.status


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

    def test_a_lag_is_what_the_policy_allows_until_it_is_more(self) -> None:
        assert TargetStatus.FRESH is workspace().at(300).plan.targets[CUMULATIVE].status
        assert TargetStatus.LATE is workspace().at(301).plan.targets[CUMULATIVE].status


class TestUnknown:
    def orphan(self) -> Story:
        mart = Asset("mart", "marts", ("nowhere", "source"), MaxLag(5))
        return Story(graph_of(Asset("source", "ingestion"), mart)).made("source", data=0)

    def test_nothing_is_requested_on_a_guess(self) -> None:
        story = self.orphan()

        assert set() == story.requested
        assert TargetStatus.BLOCKED is story.plan.targets["mart"].status

    def test_it_runs_as_soon_as_its_source_has_spoken(self) -> None:
        story = self.orphan().with_asset(Asset("nowhere", "elsewhere")).made("nowhere", data=0)

        assert "mart" in story.requested

    def test_after_a_grace_it_is_called_dangling(self) -> None:
        story = replace(self.orphan(), since={"marts": NOON})

        assert "dangling unless it is explained by 12:05:00" in story.plan.targets["mart"].reason
        assert story.at(301).plan.targets["mart"].reason.endswith(": dangling")

    def test_what_is_declared_to_be_outside_is_not_waited_for(self) -> None:
        mart = Asset("mart", "marts", ("vendor/table",), MaxLag(5))
        story = Story(graph_of(mart, outside=frozenset({"vendor/table"})))

        assert {"mart"} == story.requested

    def test_an_unknown_data_time_is_never_fresh(self) -> None:
        story = workspace().at(10).made(CUMULATIVE, data=None)
        target = story.plan.targets[CUMULATIVE]

        assert TargetStatus.LATE is target.status
        assert target.lag is None
        assert "unknown" in target.reason

    def test_nor_is_it_a_reason_to_run_again_and_again(self) -> None:
        story = workspace().at(10).made(CUMULATIVE, data=None)
        assert CUMULATIVE not in story.at(200).requested

        story = story.at(280).made(SYNC, USERS, data=220)
        assert CUMULATIVE in story.requested
        assert CUMULATIVE not in story.made(CUMULATIVE, data=None).at(290).requested

    def test_a_circle_is_reported_and_left_alone(self) -> None:
        story = Story(
            graph_of(Asset("egg", "one", ("hen",)), Asset("hen", "two", ("egg",), MaxLag(5)))
        )

        assert set() == story.requested
        assert "in the end, on itself" in story.plan.targets["hen"].reason

    def test_a_partitioned_asset_is_somebody_elses_business(self) -> None:
        story = Story(
            graph_of(
                Asset("source", "ingestion"),
                Asset("daily", "core", ("source",), schedulable=False),
                Asset("mart", "marts", ("daily",), MaxLag(5)),
            )
        ).made("source", "daily", "mart", data=0)

        assert set() == story.at(5000).requested
        assert TargetStatus.BLOCKED is story.at(5000).plan.targets["mart"].status
        assert {"mart"} == story.at(5000).made("daily", data=4900).requested

    def test_a_clock_that_is_ahead_breaks_nothing(self) -> None:
        story = workspace().made(SYNC, USERS, CUMULATIVE, data=30)

        assert 0.0 == story.plan.targets[CUMULATIVE].lag
        assert 250 == story.first_request(SYNC, within=300)


def test_no_policy_no_plan() -> None:
    story = Story(graph_of(Asset("table", "somewhere")))

    assert {} == story.plan.assets
    assert {} == story.plan.targets
    assert "no policy needs anything here" == idle_message(story.plan, "somewhere", story.graph)


def test_an_empty_graph_has_an_empty_plan() -> None:
    assert {} == plan(Graph({}), Snapshot({}), NOON).assets
