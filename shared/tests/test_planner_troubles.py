"""What the planner does when an asset fails, or a location is silent, or a policy infeasible."""

from __future__ import annotations

from dataclasses import replace

import pytest
from freshline.model import Asset, AssetState, TargetStatus
from freshline.planner import RETRY_CEILING, RETRY_FIRST, SILENT_AFTER
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


class TestRetries:
    def test_each_failure_doubles_the_pause_up_to_a_ceiling(self) -> None:
        story = workspace().at(220)
        for failures in range(1, 8):
            story = story.failed(SYNC)
            pause = min(RETRY_CEILING, RETRY_FIRST * 2 ** (failures - 1))

            assert set() == story.after(pause - 1).requested
            assert {SYNC, USERS} == story.after(pause).requested
            story = story.after(pause)

    def test_one_success_resets_the_pause(self) -> None:
        story = workspace().at(220).failed(SYNC).after(30).failed(SYNC).after(60)
        story = story.made(SYNC, USERS, CUMULATIVE, data=310).at(500).failed(SYNC)

        assert SYNC not in story.at(529).requested
        assert {SYNC, USERS} <= story.at(530).requested

    def test_a_failure_does_not_stop_assets_that_do_not_need_it(self) -> None:
        story = workspace().at(500).made(SYNC, USERS, data=440).failed(STARGAZER)

        assert {CUMULATIVE} == story.requested

    def test_a_blocked_target_names_the_failed_asset(self) -> None:
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

    def test_a_target_in_time_is_fresh_and_names_the_failed_asset(self) -> None:
        target = workspace().at(500).failed(STARGAZER).plan.targets[JOIN]

        assert TargetStatus.FRESH is target.status
        assert STARGAZER in target.reason

    def test_a_failing_model_needs_no_more_syncs(self) -> None:
        without_cumulative = [
            replace(asset, policy=None) if asset.key == CUMULATIVE else asset for asset in WORKSPACE
        ]
        story = replace(workspace(), graph=graph_of(*without_cumulative))
        story = story.at(520).made(SYNC, USERS, CUMULATIVE, data=460).failed(STARGAZER)

        assert {STARGAZER} == story.at(5000).requested

    def test_a_failing_model_needs_no_more_syncs_while_it_is_retried(self) -> None:
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

    def test_other_locations_go_on_while_one_is_silent(self) -> None:
        story = self.silent("analytics_core", heard=0).at(220 + SILENT_AFTER)

        assert {SYNC, USERS} == story.requested

    def test_a_target_is_blocked_when_a_location_upstream_is_silent(self) -> None:
        story = self.silent("analytics_core", heard=0)
        before = story.at(SILENT_AFTER).plan.targets
        after = story.at(SILENT_AFTER + 1).plan.targets

        assert TargetStatus.FRESH is before[JOIN].status
        assert TargetStatus.BLOCKED is after[JOIN].status
        assert after[JOIN].blame is not None
        assert "silent" == after[JOIN].blame.phase
        assert TargetStatus.FRESH is after[CUMULATIVE].status

    def test_the_inputs_of_a_silent_location_are_made_once_more(self) -> None:
        story = self.silent("analytics_marts", heard=0).at(300)
        assert {SYNC, USERS} == story.requested

        story = story.at(360).made(SYNC, USERS, data=300)
        # The core's model is made once, too: then a version of each waits for the marts.
        assert {STARGAZER} == story.requested
        story = story.at(375).made(STARGAZER, data=300)
        assert set() == story.at(50_000).requested

    def test_each_asset_runs_once_when_its_location_is_back(self) -> None:
        story = self.silent("analytics_marts", heard=0).at(360).made(SYNC, USERS, data=300)
        story = story.at(5000).last_heard("analytics_marts", 5000)
        for asset in WORKSPACE:
            story = story.last_heard(asset.location, 5000)

        # The version that waits is too old by now: first a new sync, then one run of each model.
        assert {SYNC, USERS} == story.requested
        story = story.started(SYNC, USERS).after(TICK)
        assert set() == story.requested
        story = story.after(55).made(SYNC, USERS, data=5000)
        assert {CUMULATIVE, STARGAZER} == story.requested

    def test_a_waiting_version_is_used_after_a_short_outage(self) -> None:
        story = self.silent("analytics_marts", heard=0).at(360).made(SYNC, USERS, data=300)
        story = story.at(400).last_heard("analytics_marts", 400)

        assert CUMULATIVE in story.requested

    def test_a_location_that_ticks_seldom_is_not_silent_between_two_ticks(self) -> None:
        story = self.silent("analytics_core", heard=0)
        slow = replace(story, graph=replace(story.graph, ticks={"analytics_core": 300.0}))

        assert TargetStatus.BLOCKED is story.at(290).plan.targets[JOIN].status
        assert TargetStatus.BLOCKED is not slow.at(290).plan.targets[JOIN].status


class TestWaitingAfterAnOutage:
    """A late target could use an older version now, or wait for a newer one that is on its way."""

    SOURCE = Asset("source", "ingestion")
    MODEL = Asset("model", "core", ("source",), MaxLag(5))
    REPORT = Asset("report", "marts", ("model",), MaxLag(60))

    def late(self) -> Story:
        seconds = {"source": 60.0, "model": 30.0}
        story = Story(graph_of(self.SOURCE, self.MODEL, self.REPORT), seconds=seconds)
        story = story.made("source", "model", "report", data=0)
        return story.at(4000).made("source", data=3940).after(20).made("model", data=3940)

    def test_a_late_target_waits_for_an_input_that_comes_within_a_run(self) -> None:
        story = self.late().at(4300).made("source", data=4230).after(5).started("model")

        assert "report" not in story.after(5).requested

    def test_a_late_target_uses_an_input_that_has_just_come(self) -> None:
        # It came eleven seconds ago by this host's clock; the clock of the next host may differ.
        story = self.late().at(4300).made("source", "model", data=4230)
        story = story.made("source", data=4290).started("model").after(11)

        assert "report" in story.requested

    def test_a_late_target_does_not_wait_when_a_run_upstream_hangs(self) -> None:
        story = self.late().at(4100).started("source")

        assert "report" in story.at(4700).requested


class TestExecutionSets:
    """Two assets of one execution set. Each has an input of its own, and one has a cron."""

    def story(self) -> Story:
        story = Story(
            graph_of(
                Asset("x", "ingestion"),
                Asset("y", "ingestion"),
                Asset("a", "marts", ("x",), MaxLag(5), execution_set="step"),
                Asset("b", "marts", ("y",), MaxLag(60, "0 * * * *"), execution_set="step"),
            )
        )
        return story.made("x", data=0)

    def test_an_execution_set_waits_for_the_first_version_of_every_input(self) -> None:
        story = self.story().started("y").after(5)

        assert set() == story.requested
        assert "made with b, which lacks an input" == story.plan.assets["a"].reason
        assert {"a", "b"} == story.made("y", data=0).requested

    def test_an_input_that_failed_before_its_first_version_is_retried(self) -> None:
        assert {"y"} == self.story().failed("y").after(30).requested

    def test_an_execution_set_goes_into_a_run_of_its_own_when_it_cannot_wait(self) -> None:
        one = Asset("a", "ingestion", ("x",), MaxLag(5), execution_set="step")
        two = Asset("b", "ingestion", ("x",), execution_set="step")
        story = Story(graph_of(Asset("x", "ingestion"), one, two), seconds={"x": 60.0})
        story = story.made("x", "a", "b", data=0).at(360).made("x", data=300).at(520)
        plans = story.plan.assets

        assert {"x", "a", "b"} == story.requested
        assert "" == plans["x"].run
        assert plans["a"].run == plans["b"].run != ""


class TestInfeasiblePolicies:
    def infeasible(self) -> Story:
        assets = [
            replace(asset, policy=MaxLag(1)) if asset.key == CUMULATIVE else asset
            for asset in WORKSPACE
        ]
        return replace(workspace(), graph=graph_of(*assets))

    def test_an_infeasible_target_says_what_its_path_can_hold(self) -> None:
        target = self.infeasible().plan.targets[CUMULATIVE]

        # 75 s of path, 65 s between two syncs (60 s and a tick), 2 s of margin.
        assert TargetStatus.INFEASIBLE is target.status
        assert 142.0 == target.shortest
        assert "at most 1 min asked, but its path can hold 2 min 22 s at best" == target.reason

    def test_the_shortest_lag_of_a_cron_does_not_include_the_run_before(self) -> None:
        hourly = [
            replace(asset, policy=MaxLag(1.5, cron="0 * * * *"))
            if asset.key == CUMULATIVE
            else asset
            for asset in WORKSPACE
        ]
        target = replace(workspace(), graph=graph_of(*hourly)).plan.targets[CUMULATIVE]

        # 75 s of path and 2 s of margin; without the cron it is 142 s.
        assert 77.0 == target.shortest
        assert TargetStatus.INFEASIBLE is not target.status

    def test_a_target_is_not_infeasible_while_an_asset_was_not_measured(self) -> None:
        story = self.infeasible()
        unmeasured = replace(story.states[SYNC], durations=AssetState().durations)
        story = replace(story, states={**story.states, SYNC: unmeasured, USERS: unmeasured})

        assert TargetStatus.INFEASIBLE is not story.plan.targets[CUMULATIVE].status

    def test_an_infeasible_policy_runs_its_slowest_asset_back_to_back(self) -> None:
        story = self.infeasible().at(140)
        assert {SYNC, USERS} == story.requested
        story = story.queued(SYNC).after(TICK)
        assert {SYNC, USERS}.isdisjoint(story.requested)

        # The next one does not wait until this one is used: that takes less time than a sync.
        story = story.at(200).made(SYNC, USERS, data=140)
        assert CUMULATIVE in story.requested
        assert 200 == story.first_request(SYNC, within=60)

    def test_a_quick_input_waits_for_a_slow_one_when_the_policy_is_infeasible(self) -> None:
        story = Story(
            graph_of(
                Asset("quick", "one"),
                Asset("slow", "two"),
                Asset("mart", "three", ("quick", "slow"), MaxLag(1)),
            ),
            seconds={"quick": 10.0, "slow": 100.0, "mart": 5.0},
        ).made("quick", "slow", "mart", data=0)
        story = story.at(100).queued("slow").after(TICK)

        assert "quick" not in story.requested
        assert 160 <= (story.first_request("quick", within=200) or 0.0)

    def test_other_targets_stay_fresh_beside_an_infeasible_one(self) -> None:
        target = self.infeasible().plan.targets[JOIN]

        assert TargetStatus.FRESH is target.status


class TestUnknown:
    def orphan(self) -> Story:
        mart = Asset("mart", "marts", ("nowhere", "source"), MaxLag(5))
        return Story(graph_of(Asset("source", "ingestion"), mart)).made("source", data=0)

    def test_nothing_is_requested_for_a_target_with_an_unknown_dependency(self) -> None:
        story = self.orphan()

        assert set() == story.requested
        assert TargetStatus.BLOCKED is story.plan.targets["mart"].status

    def test_an_asset_starts_when_its_dependency_has_entered_the_graph(self) -> None:
        story = self.orphan().with_asset(Asset("nowhere", "elsewhere")).made("nowhere", data=0)

        assert "mart" in story.requested

    def test_an_unknown_dependency_is_called_dangling_after_five_minutes(self) -> None:
        story = replace(self.orphan(), since={"marts": NOON})

        assert "dangling unless it is explained by 12:05:00" in story.plan.targets["mart"].reason
        assert story.at(301).plan.targets["mart"].reason.endswith(": dangling")

    def test_an_asset_does_not_wait_for_a_dependency_outside_the_workspace(self) -> None:
        mart = Asset("mart", "marts", ("vendor/table",), MaxLag(5))
        story = Story(graph_of(mart, outside=frozenset({"vendor/table"})))

        assert {"mart"} == story.requested

    def test_a_target_is_late_when_its_data_time_is_unknown(self) -> None:
        story = workspace().at(10).made(CUMULATIVE, data=None)
        target = story.plan.targets[CUMULATIVE]

        assert TargetStatus.LATE is target.status
        assert target.lag is None
        assert "unknown" in target.reason

    def test_an_asset_of_unknown_data_time_starts_only_for_new_inputs(self) -> None:
        story = workspace().at(10).made(CUMULATIVE, data=None)
        assert CUMULATIVE not in story.at(200).requested

        story = story.at(280).made(SYNC, USERS, data=220)
        assert CUMULATIVE in story.requested
        assert CUMULATIVE not in story.made(CUMULATIVE, data=None).at(290).requested

    def test_assets_on_a_cycle_are_reported_and_not_requested(self) -> None:
        story = Story(
            graph_of(Asset("egg", "one", ("hen",)), Asset("hen", "two", ("egg",), MaxLag(5)))
        )

        assert set() == story.requested
        assert "in the end, on itself" in story.plan.targets["hen"].reason

    @pytest.mark.parametrize("pair", [("egg", "hen"), ("egg", "nest"), ("nest", "bed")])
    def test_a_run_on_a_cycle_does_not_change_the_rest_of_the_plan(
        self, pair: tuple[str, str]
    ) -> None:
        story = Story(
            graph_of(
                Asset("egg", "one", ("hen",)),
                Asset("hen", "two", ("egg",), MaxLag(5)),
                Asset("nest", "one", ("hen",)),
                Asset("bed", "one", ("nest",), MaxLag(5)),
                Asset("source", "three"),
                Asset("mart", "three", ("source",), MaxLag(5)),
            )
        )

        assert {"source", "mart"} == story.queued(*pair).requested
        assert {"source", "mart"} == story.started(*pair).requested

    def test_a_partitioned_asset_is_never_requested(self) -> None:
        story = Story(
            graph_of(
                Asset("source", "ingestion"),
                Asset("daily", "core", ("source",), never_requested="it is partitioned"),
                Asset("mart", "marts", ("daily",), MaxLag(5)),
            )
        ).made("source", "daily", "mart", data=0)

        assert set() == story.at(5000).requested
        assert TargetStatus.BLOCKED is story.at(5000).plan.targets["mart"].status
        assert {"mart"} == story.at(5000).made("daily", data=4900).requested

    def test_the_lag_is_zero_when_the_data_time_is_in_the_future(self) -> None:
        story = workspace().made(SYNC, USERS, CUMULATIVE, data=30)

        assert 0.0 == story.plan.targets[CUMULATIVE].lag
        assert 250 == story.first_request(SYNC, within=300)
