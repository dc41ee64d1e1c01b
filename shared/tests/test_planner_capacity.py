"""Slots and pools: what starts earlier because of them, and what waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from freshline.model import (
    Asset,
    AssetPlan,
    AssetState,
    Capacity,
    Graph,
    Part,
    PartitionKeys,
    TargetStatus,
)
from freshline.planner import lineage_of, plan, priority_of
from freshline.policy import MaxLag
from freshline.simulate import Duration, Scenario, Uniform, World, figures, simulate
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planner_stories import NOON, TICK, Story, graph_of
from planner_worlds import random_scenario

HOUR = 3_600.0
MINUTE = 60.0


def story_of(
    minutes: Mapping[str, float], *, capacity: Capacity, pools: tuple[str, ...] = ()
) -> Story:
    """Return feeds of a minute, each in a location of its own and with a policy in minutes."""
    feeds = [Asset(key, f"at {key}", (), MaxLag(lag), pools=pools) for key, lag in minutes.items()]
    return Story(graph_of(*feeds), seconds=dict.fromkeys(minutes, MINUTE), capacity=capacity)


class TestRequests:
    def test_no_more_is_requested_than_there_are_slots(self) -> None:
        story = story_of({"a": 10, "b": 10, "c": 10}, capacity=Capacity(2))

        waiting = {key for key in story.graph.assets if key not in story.requested}

        assert 1 == len(waiting)
        reason = story.plan.assets[waiting.pop()].reason
        assert "waits for a slot: 2 of 2 are taken" == reason

    def test_the_most_urgent_is_requested_first_in_all_locations(self) -> None:
        story = story_of({"a": 10, "b": 9, "c": 11}, capacity=Capacity(1))
        late = story.made("a", "b", "c", data=0).at(15 * MINUTE)

        assert {"b"} == late.requested

    def test_what_was_never_made_comes_before_what_is_late(self) -> None:
        story = story_of({"a": 1, "b": 60}, capacity=Capacity(1)).made("a", data=0).at(HOUR)

        assert {"b"} == story.requested

    def test_of_what_is_as_urgent_the_one_with_less_work_ahead_comes_first(self) -> None:
        source, mart = Asset("source", "ingestion"), Asset("mart", "marts", ("source",), MaxLag(9))
        other = Asset("other", "others", (), MaxLag(9))
        story = Story(graph_of(source, mart, other), seconds={"source": 60.0, "other": 60.0})
        started = replace(story, capacity=Capacity(1)).made("source", data=-60)

        assert {"mart"} == started.requested

    @pytest.mark.parametrize(
        ("others", "requested"), [(0, {"b"}), (1, set())], ids=["free", "taken by others"]
    )
    def test_runs_under_way_take_slots(self, others: int, requested: set[str]) -> None:
        story = story_of({"a": 10, "b": 10}, capacity=Capacity(2, others=others)).started("a")

        assert requested == story.requested

    def test_a_run_that_ends_before_the_next_tick_makes_room(self) -> None:
        story = story_of({"a": 10, "b": 10}, capacity=Capacity(1)).started("a")

        assert set() == story.after(MINUTE - TICK - 1).requested
        assert {"b"} == story.after(MINUTE - TICK).requested

    def test_as_many_short_runs_are_requested_as_end_before_the_next_tick(self) -> None:
        assets = [Asset(key, f"at {key}", (), MaxLag(10)) for key in "abcdef"]
        seconds = dict.fromkeys("abcdef", 10.0)
        story = Story(graph_of(*assets, tick=29.0), seconds=seconds, capacity=Capacity(1))

        assert 3 == len(story.requested)

    def test_a_run_of_assets_that_follow_each_other_takes_as_long_as_all_of_them(self) -> None:
        chain = Asset("first", "chain"), Asset("second", "chain", ("first",), MaxLag(10))
        others = [Asset(key, f"at {key}", (), MaxLag(20)) for key in "ab"]
        graph = graph_of(*chain, *others, tick=29.0)
        story = Story(graph, seconds=dict.fromkeys(graph.assets, 10.0), capacity=Capacity(1))
        late = story.made(*graph.assets, data=0).at(HOUR)

        # After 20 s for the chain, there is room for one more before the next tick.
        assert {"first", "second", "a"} == late.requested

    def test_no_more_partitions_are_requested_than_there_is_room_for(self) -> None:
        keys = PartitionKeys(static=("eu", "us", "uk"))
        shops = Asset("shops", "ingestion", (), MaxLag(10), keys=keys)
        parts = tuple(Part(name, key=name) for name in keys.static)
        story = Story(
            graph_of(shops), states={"shops": AssetState(parts=parts)}, capacity=Capacity(2)
        )

        assert ("eu", "us") == story.plan.assets["shops"].parts

    def test_what_waits_in_the_queue_counts_as_under_way(self) -> None:
        story = story_of({"a": 10, "b": 10}, capacity=Capacity(1)).queued("a")

        assert set() == story.after(10 * MINUTE).requested

    def test_only_what_needs_the_full_pool_waits(self) -> None:
        pooled, free, other = (
            Asset("pooled", "ingestion", (), MaxLag(10), pools=("api",)),
            Asset("free", "ingestion", (), MaxLag(10)),
            Asset("other", "elsewhere", (), MaxLag(10), pools=("api",)),
        )
        story = Story(graph_of(pooled, free, other), capacity=Capacity(pools={"api": 1}))

        running = story.started("other")

        assert {"free"} == running.requested
        reason = running.plan.assets["pooled"].reason
        assert "waits for a place in the pool api: 1 of 1 is taken" == reason

    def test_what_would_join_the_run_of_an_input_waits_with_it(self) -> None:
        source = Asset("source", "place", pools=("api",))
        mart = Asset("mart", "place", ("source",), MaxLag(10))
        other = Asset("other", "elsewhere", (), MaxLag(10), pools=("api",))
        story = Story(graph_of(source, mart, other), capacity=Capacity(pools={"api": 1}))

        assert {"source", "mart"} <= story.requested | {"other"}
        assert set() == story.started("other").requested

    def test_a_pool_without_a_limit_holds_nothing_up(self) -> None:
        story = story_of({"a": 10, "b": 10}, capacity=Capacity(), pools=("api",))

        assert {"a", "b"} == story.requested


class TestLatestStarts:
    def latest_starts(self, story: Story) -> dict[str, float]:
        """Return when each asset has to start at the latest, in seconds after noon."""
        return {
            key: round(story.now - NOON + (asset.slack or 0.0))
            for key, asset in story.plan.assets.items()
        }

    def test_one_of_two_that_need_the_same_pool_starts_a_run_earlier(self) -> None:
        story = story_of(
            {"a": 20, "b": 20.5}, capacity=Capacity(pools={"api": 1}), pools=("api",)
        ).made("a", "b", data=0)

        # `b` is needed half a minute later. A run takes a minute, and 2 s to be sure.
        assert {"a": 1138, "b": 1168} == self.latest_starts(replace(story, capacity=Capacity()))
        assert {"a": 1106, "b": 1168} == self.latest_starts(story)

    def test_nothing_starts_earlier_where_there_is_room(self) -> None:
        story = story_of({"a": 20, "b": 20.5}, capacity=Capacity(2)).made("a", "b", data=0)

        assert {"a": 1138, "b": 1168} == self.latest_starts(story)

    def test_a_run_under_way_takes_its_place_until_it_is_expected_to_end(self) -> None:
        story = story_of({"a": 20, "b": 20, "c": 20}, capacity=Capacity(2))
        story = story.made("a", "b", "c", data=0)

        early, late = story.at(1060).started("c"), story.at(1100).started("c")

        # `c` ends at 1120, or at 1160, which is too late for the other slot to do for both.
        assert [1138, 1138] == sorted(self.latest_starts(early)[key] for key in ("a", "b"))
        assert [1100, 1138] == sorted(self.latest_starts(late)[key] for key in ("a", "b"))

    def test_an_input_comes_earlier_for_a_consumer_that_starts_earlier(self) -> None:
        assets: list[Asset] = []
        for name in ("a", "b"):
            mart = Asset(f"mart {name}", f"marts {name}", (f"source {name}",), MaxLag(20))
            assets += [Asset(f"source {name}", f"sources {name}"), replace(mart, pools=("db",))]
        seconds = {asset.key: MINUTE for asset in assets}
        story = Story(graph_of(*assets), seconds=seconds).made(*seconds, data=0)

        usual = self.latest_starts(story)
        limited = self.latest_starts(replace(story, capacity=Capacity(pools={"db": 1})))

        earlier = {key: usual[key] - limited[key] for key in usual}
        moved = [key for key in ("a", "b") if earlier[f"mart {key}"]]
        assert 1 == len(moved)
        assert 62 == earlier[f"mart {moved[0]}"]
        # Its source had some seconds to spare, for when runs take longer than usual.
        assert 50 <= earlier[f"source {moved[0]}"] <= 62
        assert 2 == sum(seconds == 0 for seconds in earlier.values())

    def test_roots_that_find_no_place_each_start_together(self) -> None:
        first = Asset("first", "ingestion", (), MaxLag(20), pools=("api",))
        second = Asset("second", "ingestion", (), MaxLag(20 + 4 / 60), pools=("api",))
        story = Story(graph_of(first, second), seconds={"first": MINUTE, "second": MINUTE}).made(
            "first", "second", data=0
        )

        limited = replace(story, capacity=Capacity(pools={"api": 1}))

        assert {"first": 1138, "second": 1142} == self.latest_starts(story)
        assert {"first": 1138, "second": 1138} == self.latest_starts(limited)

    def test_roots_start_together_also_where_another_run_makes_both_start_earlier(self) -> None:
        roots = [
            Asset(key, location, (), MaxLag(20 + seconds / 60), pools=("api",))
            for key, location, seconds in (
                ("first", "ingestion", 0.0),
                ("second", "ingestion", 4.0),
                ("other", "elsewhere", 10.0),
            )
        ]
        story = Story(graph_of(*roots), seconds={root.key: MINUTE for root in roots})
        made = story.made("first", "second", "other", data=0)

        limited = replace(made, capacity=Capacity(pools={"api": 1}))

        # One run of 60 s, and 2 s to be sure, before the one that makes `other`.
        assert {"first": 1086, "second": 1086, "other": 1148} == self.latest_starts(limited)


class TestWords:
    def test_a_target_that_is_late_because_of_the_queue_says_so(self) -> None:
        story = story_of({"a": 10, "b": 10}, capacity=Capacity(1)).made("a", "b", data=0)
        late = story.at(10 * MINUTE).started("a").after(10)

        target = late.plan.targets["b"]

        assert TargetStatus.LATE is target.status
        assert (
            "over its 10 min since 12:10:00 UTC: b waits: waits for a slot: 1 of 1 is taken"
            == target.reason
        )

    def test_a_run_is_as_important_as_its_most_urgent_asset_is_late(self) -> None:
        def asset_plan(slack: float | None) -> AssetPlan:
            return AssetPlan("key", True, 0.0, "target", 0.0, slack, "")

        assert 12 == priority_of([asset_plan(40.0), asset_plan(-12.4)])
        assert -40 == priority_of([asset_plan(40.0)])
        assert 0 == priority_of([asset_plan(None), asset_plan(30.0)])


def feeds(count: int, capacity: Capacity) -> Scenario:
    """Return so many feeds, half of them with 5 minutes and half with 20."""
    assets: dict[str, Asset] = {}
    for number in range(count):
        policy = MaxLag(5 if number % 2 else 20)
        assets[f"root {number}"] = Asset(f"root {number}", "ingestion")
        assets[f"mart {number}"] = Asset(f"mart {number}", "marts", (f"root {number}",), policy)
    seconds = {"root": 50.0, "mart": 20.0}
    return Scenario(
        graph=Graph(assets, {"ingestion": 5.0, "marts": 5.0}),
        durations={key: Duration(seconds[key.split()[0]], 0.2) for key in assets},
        launch=Uniform(3.0, 9.0),
        first_ticks={"marts": 1.7},
        capacity=capacity,
    )


def late(world: World, begin: float, end: float) -> float:
    """Return the share of the time for which a target was late, on average over all targets."""
    shares = [one.share for one in figures(world, begin, end).targets.values()]
    return sum(shares) / len(shares)


class TestSimulated:
    def test_a_cold_start_with_a_full_queue_does_not_last(self) -> None:
        world = simulate(feeds(12, Capacity(4)), 3 * HOUR)

        assert 0.003 >= late(world, HOUR / 2, 3 * HOUR)
        assert {TargetStatus.FRESH} == {it.status for it in world.plan().targets.values()}
        assert 145.0 >= figures(world, HOUR, 3 * HOUR).root_syncs

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 10**6), slots=st.integers(1, 3))
    def test_the_queue_stays_short_and_everything_is_made(self, seed: int, slots: int) -> None:
        scenario = random_scenario(seed)
        durations = {  # so that every run takes longer than a tick
            key: Duration(max(2 * TICK, one.mean), 0.2) for key, one in scenario.durations.items()
        }
        world = simulate(replace(scenario, durations=durations, capacity=Capacity(slots)), HOUR)

        for run in world.runs:
            waiting = [
                other
                for other in world.runs
                if other.requested_at <= run.requested_at
                and (other.launched_at is None or other.launched_at > run.requested_at)
            ]
            assert len(waiting) <= slots
        assert world.versions.keys() == world.lineage.inputs.keys()
        assert [] == world.overlaps

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 10**6))
    @example(728)  # two roots of one location are due within two seconds
    def test_a_limit_that_is_never_reached_changes_no_request(self, seed: int) -> None:
        world = simulate(random_scenario(seed), HOUR / 2)
        lineage, snapshot = lineage_of(world.graph), world.snapshot()
        limited = replace(snapshot, capacity=Capacity(1000))

        free = plan(lineage, snapshot, world.now).assets

        assert free == plan(lineage, limited, world.now).assets
