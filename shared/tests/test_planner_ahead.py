"""What lies ahead of an asset: the way to it, what happens next there, and what it needs."""

from __future__ import annotations

from freshline.model import Asset, Phase
from freshline.planner import Ahead, Need, Step, lineage_of, look_ahead
from freshline.policy import MaxLag
from planner_stories import (
    CUMULATIVE,
    JOIN,
    NOON,
    STARGAZER,
    SYNC,
    USERS,
    Story,
    graph_of,
    workspace,
)


def ahead_of(story: Story) -> Ahead:
    return look_ahead(lineage_of(story.graph), story.snapshot, story.now)


def next_step(story: Story, key: str) -> Step:
    step = ahead_of(story).next_step(key)
    assert step is not None
    return step


def needs(story: Story, key: str) -> tuple[Need, ...]:
    return ahead_of(story).needs(key)


class TestPath:
    def test_it_has_the_slowest_way_with_what_each_asset_adds(self) -> None:
        path = ahead_of(workspace()).path(JOIN)

        assert [(SYNC, 60.0), (STARGAZER, 15.0), (JOIN, 15.0)] == [
            (hop.key, hop.seconds) for hop in path
        ]
        assert ["ingestion", "analytics_core", "analytics_marts"] == [hop.location for hop in path]

    def test_of_two_inputs_the_slower_one_is_on_it(self) -> None:
        assets = (
            Asset("quick", "a"),
            Asset("slow", "a"),
            Asset("mart", "a", ("quick", "slow"), MaxLag(10)),
        )
        story = Story(graph_of(*assets), seconds={"slow": 40.0, "quick": 20.0})
        path = ahead_of(story.made("quick", "slow", "mart", data=0)).path("mart")

        assert ["slow", "mart"] == [hop.key for hop in path]

    def test_a_view_is_not_on_it(self) -> None:
        assets = (
            Asset("table", "a"),
            Asset("view", "a", ("table",), view=True),
            Asset("mart", "b", ("view",), MaxLag(10)),
        )
        path = ahead_of(Story(graph_of(*assets)).made("table", "view", "mart", data=0)).path("mart")

        assert ["table", "mart"] == [hop.key for hop in path]

    def test_one_that_no_policy_needs_has_none(self) -> None:
        story = workspace().with_asset(Asset("unused", "ingestion"))

        assert () == ahead_of(story).path("unused")
        assert ahead_of(story).next_step("unused") is None

    def test_a_cycle_ends_it(self) -> None:
        assets = (Asset("one", "a", ("two",)), Asset("two", "a", ("one",), MaxLag(10)))
        path = ahead_of(Story(graph_of(*assets))).path("two")

        assert ["one", "two"] == [hop.key for hop in path]

    def test_it_is_measured_when_every_asset_was(self) -> None:
        story = Story(graph_of(Asset("root", "a"), Asset("mart", "a", ("root",), MaxLag(10))))

        assert ahead_of(story).is_measured("mart")
        assert not ahead_of(story.never_measured("root")).is_measured("mart")


class TestNextStep:
    def test_a_root_that_is_due_later(self) -> None:
        story = workspace().at(180)

        assert Step(SYNC, "ingestion", Phase.WAIT, None, NOON + 223) == next_step(story, JOIN)

    def test_a_request_of_now(self) -> None:
        story = workspace().at(220)

        assert Step(SYNC, "ingestion", Phase.WAIT, None, story.now) == next_step(story, JOIN)

    def test_a_run_is_queued_then_starts_then_runs(self) -> None:
        queued = workspace().at(220).queued(SYNC, USERS)
        launched = queued.at(222).launched(SYNC, USERS)
        started = launched.at(230).started(SYNC, USERS)

        assert [
            (Phase.QUEUE, NOON + 220),
            (Phase.START, NOON + 222),
            (Phase.EXECUTION, NOON + 230),
        ] == [
            (step.phase, step.since)
            for step in (next_step(story, JOIN) for story in (queued, launched, started))
        ]

    def test_the_first_asset_of_a_run_that_makes_several(self) -> None:
        assets = (Asset("root", "a"), Asset("mart", "a", ("root",), MaxLag(10)))
        story = Story(graph_of(*assets)).made("root", "mart", data=0)
        queued = story.at(500).queued("root", "mart")

        assert "root" == next_step(queued, "mart").key
        assert "mart" == next_step(queued.at(505).started("mart"), "mart").key

    def test_the_asset_itself_when_its_inputs_are_new(self) -> None:
        story = workspace().at(220).made(SYNC, USERS, data=160)

        assert CUMULATIVE == next_step(story, CUMULATIVE).key

    def test_a_failed_one_is_tried_again(self) -> None:
        story = workspace().at(220).failed(SYNC)

        assert Step(SYNC, "ingestion", Phase.FAILING, NOON + 220, NOON + 250) == next_step(
            story.at(230), JOIN
        )

    def test_a_silent_location_plans_nothing(self) -> None:
        story = workspace().last_heard("ingestion", 0).at(400)

        assert Step(SYNC, "ingestion", Phase.SILENT, NOON, None) == next_step(story, JOIN)


class TestNeeds:
    def test_a_root_waits_for_its_latest_start(self) -> None:
        at = f"it is 12:03:43 UTC, the latest start for {CUMULATIVE}"

        assert (Need(at, False),) == needs(workspace().at(180), SYNC)
        assert (Need(at, True),) == needs(workspace().at(220), SYNC)

    def test_an_asset_needs_newer_data_of_each_input(self) -> None:
        before, after = workspace().at(180), workspace().at(180).made(SYNC, USERS, data=120)

        first = needs(before, CUMULATIVE)[0]
        assert not first.met
        assert first.text.startswith(
            f"{SYNC} has data newer than 12:00:00 UTC; it has data of 12:00:00 UTC, and newer data"
            " is expected by 12:0"
        )
        assert Need(f"{SYNC} has data newer than 12:00:00 UTC", True) == needs(after, CUMULATIVE)[0]

    def test_an_input_that_was_never_made_is_named(self) -> None:
        story = Story(graph_of(Asset("root", "a"), Asset("mart", "b", ("root",), MaxLag(10))))

        assert Need("root has been made", False) in needs(story, "mart")

    def test_a_location_has_to_be_heard_of(self) -> None:
        story = workspace().last_heard("ingestion", 0)
        text = "ingestion is heard of; it last was at 12:00:00 UTC"

        assert Need(text, True) in needs(story.at(60), SYNC)
        assert Need(text, False) in needs(story.at(400), SYNC)

    def test_a_pause_has_to_end(self) -> None:
        story = workspace().paused("ingestion", until=600).at(60)
        text = "ingestion is not paused; it is until 12:10:00 UTC: maintenance"

        assert Need(text, False) in needs(story, SYNC)

    def test_a_failed_one_waits_before_it_is_tried_again(self) -> None:
        story = workspace().at(220).failed(SYNC)
        text = "it is 12:04:10 UTC: it failed once: boom"

        assert Need(text, False) in needs(story.at(230), SYNC)
        assert Need(text, True) in needs(story.at(250), SYNC)

    def test_one_that_is_never_requested_is_made_by_somebody(self) -> None:
        feed = Asset("feed", "outside", never_requested="another team makes it")
        story = Story(graph_of(feed, Asset("mart", "a", ("feed",), MaxLag(10))))

        assert (
            Need("somebody makes it: feed is never requested: another team makes it", False),
        ) == needs(story, "feed")

    def test_one_that_no_policy_needs_needs_one(self) -> None:
        story = workspace().with_asset(Asset("unused", "ingestion"))

        assert (Need("some policy needs it", False),) == needs(story, "unused")

    def test_one_that_is_made_at_most_every_so_often_rests(self) -> None:
        root = Asset("root", "a", at_most_every=600.0)
        story = Story(graph_of(root, Asset("mart", "a", ("root",), MaxLag(10))))
        story = story.made("root", "mart", data=0)

        assert Need("it is 12:10:00 UTC: it is made at most every 10 min", False) in needs(
            story.at(60), "root"
        )
