"""Assets that are not requested whenever a policy asks: paused, bounded, static, never."""

from __future__ import annotations

from dataclasses import replace

from freshline.model import Asset, Phase, TargetStatus
from freshline.planner import idle_message, lineage_of
from freshline.policy import MaxLag
from freshline.simulate import Duration, Scenario, simulate
from planner_stories import (
    CUMULATIVE,
    JOIN,
    STARGAZER,
    SYNC,
    USERS,
    Story,
    graph_of,
    workspace,
)

HOUR = 3_600.0


class TestNeverRequested:
    SOURCE = Asset(
        "elt/orders", "elt", never_requested="elt, which makes it, is not under freshline"
    )
    MART = Asset("mart/orders", "marts", ("elt/orders",), MaxLag(30))

    def story(self) -> Story:
        return Story(graph_of(self.SOURCE, self.MART))

    def test_each_new_version_is_used_at_once(self) -> None:
        story = self.story().made("elt/orders", data=0)

        assert {"mart/orders"} == story.requested

        used = story.after(20).made("mart/orders", data=0).after(600)

        assert set() == used.requested
        assert {"mart/orders"} == used.made("elt/orders", data=600).requested

    def test_the_target_is_fresh_as_long_as_its_data_is(self) -> None:
        story = self.story().made("elt/orders", "mart/orders", data=0)

        assert TargetStatus.FRESH is story.at(1700).plan.targets["mart/orders"].status
        late = story.at(1900).plan.targets["mart/orders"]
        assert TargetStatus.BLOCKED is late.status
        assert late.blame
        assert Phase.UNSCHEDULED is late.blame.phase
        assert (
            "held up by elt/orders (elt): elt/orders is never requested: elt, which makes it, is "
            "not under freshline" == late.reason
        )

    def test_a_run_that_is_under_way_is_named_before_it(self) -> None:
        story = self.story().made("elt/orders", data=0)

        assert TargetStatus.LATE is story.plan.targets["mart/orders"].status
        running = story.started("mart/orders").after(10).plan.targets["mart/orders"]
        assert (
            TargetStatus.LATE,
            "no version yet: mart/orders has been running since 12:00:00 UTC",
        ) == (
            running.status,
            running.reason,
        )

    def test_its_reader_says_what_it_waits_for(self) -> None:
        story = self.story().made("elt/orders", "mart/orders", data=0)

        assert "mart/orders: its inputs hold nothing new (elt/orders)" == idle_message(
            story.at(60).plan, "marts", lineage_of(story.graph)
        )

    def test_nothing_is_made_for_its_sake(self) -> None:
        middle = replace(self.SOURCE, deps=("raw/orders",))
        story = Story(graph_of(Asset("raw/orders", "raw"), middle, self.MART))

        assert set() == story.requested

    def test_its_neighbours_go_on(self) -> None:
        story = workspace()
        story = story.with_asset(self.SOURCE).with_asset(
            replace(story.graph.assets[JOIN], deps=(STARGAZER, CUMULATIVE, "elt/orders"))
        )

        assert {SYNC, USERS} <= story.at(280).requested


class TestPause:
    def test_a_paused_location_requests_nothing(self) -> None:
        story = workspace().at(280)

        assert SYNC in story.requested
        assert set() == story.paused("ingestion", until=600).requested
        assert SYNC in story.paused("ingestion", until=270).requested

    def test_other_locations_targets_say_who_is_paused(self) -> None:
        target = workspace().paused("ingestion", until=600).at(400).plan.targets[CUMULATIVE]

        assert TargetStatus.BLOCKED is target.status
        assert target.blame
        assert (Phase.PAUSED, "ingestion") == (target.blame.phase, target.blame.location)
        assert "ingestion is paused until 12:10:00 UTC: maintenance" in target.reason

    def test_a_paused_target_asks_for_nothing(self) -> None:
        story = workspace().paused(CUMULATIVE, until=HOUR).paused(JOIN, until=HOUR).at(900)

        assert set() == story.requested
        target = story.plan.targets[CUMULATIVE]
        assert TargetStatus.PAUSED is target.status
        assert "paused until 13:00:00 UTC: maintenance" == target.reason

    def test_a_paused_target_leaves_the_others_to_be_kept(self) -> None:
        story = workspace().paused(JOIN, until=HOUR).at(280)

        assert {SYNC, USERS} == story.requested

    def test_a_pause_is_part_of_what_a_plan_is_made_from(self) -> None:
        assert workspace().plan.id != workspace().paused(JOIN, until=HOUR).plan.id


class TestAtMostEvery:
    def bounded(self, minutes: float) -> Story:
        story = workspace()
        bounded = replace(story.graph.assets[SYNC], at_most_every=minutes * 60.0)
        return story.with_asset(bounded)

    def test_a_version_rests_before_the_next_one_is_made(self) -> None:
        story = self.bounded(minutes=10).made(SYNC, USERS, data=-60)

        assert 600 == story.first_request(SYNC, within=900)
        assert (
            "made at most every 10 min: not before 12:10:00 UTC"
            == self.bounded(10).made(SYNC, USERS, data=-600).at(400).plan.assets[SYNC].reason
        )

    def test_a_bound_that_leaves_room_changes_nothing(self) -> None:
        unbounded = workspace().first_request(SYNC, within=900)

        assert unbounded == self.bounded(minutes=1).first_request(SYNC, within=900)

    def test_a_target_says_which_bound_makes_its_policy_infeasible(self) -> None:
        target = self.bounded(minutes=10).plan.targets[CUMULATIVE]

        assert TargetStatus.INFEASIBLE is target.status
        assert target.reason.endswith(f": {SYNC} is made at most every 10 min")
        assert target.shortest
        assert target.shortest > 600

    def test_a_bounded_source_is_never_made_more_often(self) -> None:
        graph = self.bounded(minutes=10).graph
        seconds = {key: Duration(15.0, 0.3) for key in graph.assets}
        world = simulate(Scenario(graph, seconds, launch=Duration(5.0, 0.3)), 6 * HOUR)

        made = [at for at, _ in world.versions[SYNC]]
        starts = [run.requested_at for run in world.runs if SYNC in run.keys]
        assert len(made) > 20
        assert all(
            later - before >= 600 for before, later in zip(made[:-1], starts[1:], strict=False)
        )
        assert not world.overlaps


class TestStatic:
    RATES = Asset("seed/rates", "core", static=True)
    ORDERS = Asset("raw/orders", "ingestion")
    MART = Asset("mart/revenue", "core", ("raw/orders", "seed/rates"), MaxLag(5))

    def story(self) -> Story:
        return Story(graph_of(self.RATES, self.ORDERS, self.MART))

    def test_a_static_asset_is_made_once(self) -> None:
        story = self.story()

        assert {"seed/rates", "raw/orders"} == story.requested
        made = story.made("seed/rates", "raw/orders", "mart/revenue", data=0)
        assert "seed/rates" not in made.at(270).requested
        assert "seed/rates" not in made.at(9_000).requested

    def test_what_reads_it_waits_until_it_was_made(self) -> None:
        elsewhere = replace(self.RATES, location="finance")
        story = self.story().with_asset(elsewhere).made("raw/orders", data=0)

        assert {"seed/rates"} == story.requested
        assert {"mart/revenue"} == story.made("seed/rates", data=0).requested

    def test_it_goes_into_the_run_of_what_reads_it(self) -> None:
        story = self.story().made("raw/orders", data=0)

        assert {"seed/rates", "mart/revenue"} == story.requested

    def test_an_old_one_does_not_age_what_is_made_from_it(self) -> None:
        graph = self.story().graph
        seconds = {key: Duration(15.0) for key in graph.assets}
        world = simulate(Scenario(graph, seconds), 6 * HOUR)

        assert 1 == len(world.versions["seed/rates"])
        lags = [at - data for at, data in world.versions["mart/revenue"] if data is not None]
        assert len(lags) > 60
        assert max(lags) < 60

    def test_a_target_made_from_static_assets_alone_stays_fresh(self) -> None:
        static = replace(self.MART, deps=("seed/rates",), static=True)
        story = Story(graph_of(self.RATES, static)).made("seed/rates", "mart/revenue", data=0)

        later = story.at(30 * 24 * HOUR)
        assert set() == later.requested
        assert TargetStatus.FRESH is later.plan.targets["mart/revenue"].status
        assert 0.0 == later.plan.targets["mart/revenue"].lag


def test_a_location_that_only_observes_is_planned_as_if_it_did_not() -> None:
    story = workspace()
    observed = replace(story, graph=replace(story.graph, observers=frozenset({"analytics_marts"})))

    late = observed.at(400).plan.targets[CUMULATIVE]

    assert story.at(280).requested == observed.at(280).requested
    assert f"{SYNC} would be requested now" in late.reason
