"""What the planner does with partitions, views and answers without news, each rule as a story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from freshline.model import (
    Asset,
    AssetState,
    NothingNew,
    Part,
    PartitionKeys,
    Pending,
    Phase,
    Reads,
    TargetStatus,
    Version,
)
from freshline.policy import MaxLag
from freshline.windows import Windows
from freshline.words import span
from planner_stories import NOON, TICK, Story, graph_of

HOUR = 3600.0
DAY = 24 * HOUR
MIDNIGHT = -12 * HOUR
"""In seconds after noon, as stories count."""

DAYS = Windows("0 0 * * *", NOON + MIDNIGHT - 3 * DAY)
OPEN = replace(DAYS, end_offset=1)
FIRST, SECOND, YESTERDAY, TODAY = "2023-11-12", "2023-11-13", "2023-11-14", "2023-11-15"
TOGETHER = {"orders": Reads(windows=(0, 0))}

LONG = MaxLag(26 * 60)


def orders(**options: object) -> Asset:
    return replace(Asset("orders", "shop", windows=DAYS), **options)


def mart(**options: object) -> Asset:
    return replace(Asset("mart", "marts", ("orders",), windows=DAYS, reads=TOGETHER), **options)


def days(
    story: Story, key: str, made: Mapping[str, float], failed: str = "", running: str = ""
) -> Story:
    """Let the partitions of `key` have data of these times, in seconds after noon.

    Those that are not named are missing. One that has just `failed`, and one that is `running`, may
    be named.
    """
    windows = story.graph.assets[key].windows
    assert windows is not None
    data_time = windows.reach(story.now)
    parts = []
    number = story.events
    for window in windows.existing(0.0, story.now):
        name = windows.key(window)
        reached = NOON + made[name] if name in made else None
        number += name in made
        if reached is not None and reached >= window.end:
            continue
        data_time = min(data_time, max(window.start, reached or 0.0))
        pending = Pending("run", story.now, story.now) if name == running else None
        part = Part(name, window, reached, number if name in made else 0, pending)
        if name == failed:
            part = replace(part, failures=1, failed_at=story.now, error="not readable")
        parts.append(part)
    version = Version(number, story.now, data_time) if made else None
    last = windows.existing(0.0, story.now)[-1:]
    ends = [window.end if windows.key(window) in made else window.start for window in last]
    told = story._with(
        key,
        version=version,
        parts=tuple(parts),
        failures=1 if failed else 0,
        failed_at=story.now if failed else None,
        error="not readable" if failed else None,
        last_data_time=ends[0] if ends else None,
    )
    return replace(told, events=number + 1)


def complete(*names: str) -> dict[str, float]:
    """Return that these partitions were made when their windows had closed."""
    windows = {name: DAYS.window(name) for name in names}
    return {name: window.end - NOON for name, window in windows.items() if window}


def at_noon(*assets: Asset) -> Story:
    return Story(graph_of(*assets))


def parts_of(story: Story) -> dict[str, tuple[str, ...]]:
    """Return the partitions of each asset that is requested."""
    return {key: asset.parts for key, asset in story.plan.assets.items() if asset.request}


class TestClosedWindows:
    def test_nothing_is_requested_before_the_window_closes(self) -> None:
        story = at_noon(orders(policy=LONG))
        story = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))
        asset = story.plan.assets["orders"]

        assert story.first_request("orders", within=12 * HOUR - TICK) is None
        assert NOON + 12 * HOUR == asset.due
        assert "its next window closes at" in asset.reason

    def test_it_is_requested_at_the_first_tick_after_the_window_has_closed(self) -> None:
        story = at_noon(orders(policy=LONG)).at(12 * HOUR)
        story = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))

        assert {"orders": (TODAY,)} == parts_of(story)

    def test_it_is_made_when_it_has_closed_and_not_when_the_policy_needs_it(self) -> None:
        story = at_noon(orders(policy=MaxLag(9 * 60, cron="0 9 * * *"))).at(12 * HOUR)
        story = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))

        assert {"orders": (TODAY,)} == parts_of(story)

    def test_the_incomplete_ones_are_requested_in_order_in_one_run_each(self) -> None:
        story = days(at_noon(orders(policy=LONG)), "orders", {})

        assert {"orders": (FIRST, SECOND, YESTERDAY)} == parts_of(story)
        assert not story.plan.assets["orders"].together

    def test_one_run_makes_them_if_it_can(self) -> None:
        story = days(at_noon(orders(policy=LONG, single_run=True)), "orders", {})

        assert {"orders": (FIRST, SECOND, YESTERDAY)} == parts_of(story)
        assert story.plan.assets["orders"].together

    def test_one_run_makes_no_more_than_a_range(self) -> None:
        story = days(at_noon(orders(policy=LONG, single_run=True)), "orders", complete(SECOND))

        assert {"orders": (FIRST,)} == parts_of(story)

    def test_one_that_there_was_nothing_to_make_of_is_asked_for_again_at_the_pace_of_the_policy(
        self,
    ) -> None:
        story = days(at_noon(orders(policy=LONG)), "orders", complete(FIRST, SECOND))
        state = story.states["orders"]
        (part,) = state.parts
        answered = replace(part, nothing_new=NothingNew(NOON, NOON))
        story = replace(story, states={"orders": replace(state, parts=(answered,))})
        wait = story.first_request("orders", within=40 * HOUR)

        assert {} == parts_of(story)
        assert wait is not None
        assert LONG.minutes * 60 - 120 <= wait <= LONG.minutes * 60

    def test_one_whose_source_was_behind_is_asked_for_again_when_it_may_have_caught_up(
        self,
    ) -> None:
        story = days(at_noon(orders(policy=LONG)), "orders", complete(FIRST, SECOND))
        state = story.states["orders"]
        (part,) = state.parts
        assert part.window is not None
        behind = replace(part, data_time=part.window.end - 300, version=9, made_at=NOON)
        story = replace(story, states={"orders": replace(state, parts=(behind,))})

        assert 300 == story.first_request("orders", within=HOUR)
        assert "its source was behind" in story.plan.assets["orders"].reason

    def test_one_that_was_made_before_its_window_closed_is_made_again_at_once(self) -> None:
        story = days(at_noon(orders(policy=LONG)), "orders", complete(FIRST, SECOND))
        state = story.states["orders"]
        (part,) = state.parts
        assert part.window is not None
        early = part.window.end - 300
        behind = replace(part, data_time=early, version=9, made_at=early + 60)
        story = replace(story, states={"orders": replace(state, parts=(behind,))})

        assert {"orders": (YESTERDAY,)} == parts_of(story)

    def test_a_long_backlog_does_not_fill_the_queue(self) -> None:
        old = replace(DAYS, start=NOON + MIDNIGHT - 100 * DAY)
        story = days(at_noon(orders(policy=LONG, windows=old)), "orders", {})
        (requested,) = parts_of(story).values()

        assert 1 < len(requested) < 20
        assert "2023-08-07" == requested[0]

    def test_one_that_a_run_makes_is_not_requested_again(self) -> None:
        story = at_noon(orders(policy=LONG))
        story = days(story, "orders", complete(FIRST, SECOND), running=YESTERDAY)

        assert {} == parts_of(story)

    def test_while_one_run_makes_a_range_no_other_is_requested(self) -> None:
        story = at_noon(orders(policy=LONG, single_run=True))
        story = days(story, "orders", complete(FIRST), running=SECOND)

        assert {} == parts_of(story)

    def test_one_that_has_failed_does_not_hold_up_the_others(self) -> None:
        story = at_noon(orders(policy=LONG))
        story = days(story, "orders", complete(FIRST), failed=SECOND)

        assert {"orders": (YESTERDAY,)} == parts_of(story)

    def test_one_that_has_failed_pauses_before_it_is_tried_again(self) -> None:
        story = at_noon(orders(policy=LONG))
        story = days(story, "orders", complete(FIRST, YESTERDAY), failed=SECOND)

        assert {} == parts_of(story.after(25))
        assert {"orders": (SECOND,)} == parts_of(story.after(30))

    def test_an_asset_whose_windows_have_all_closed_is_made_no_more(self) -> None:
        ended = replace(DAYS, end=NOON + MIDNIGHT)
        story = at_noon(orders(policy=LONG, windows=ended)).at(5 * DAY)
        story = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))

        assert {} == parts_of(story)
        assert story.plan.assets["orders"].due is None

    def test_nothing_more_is_expected_of_one_whose_windows_have_all_closed(self) -> None:
        ended = replace(DAYS, end=NOON + MIDNIGHT)
        story = at_noon(orders(), mart(policy=LONG, windows=ended)).at(5 * DAY)
        story = days(story, "mart", complete(FIRST, SECOND, YESTERDAY))
        # The next partition of its input takes longer than was expected.
        running = Part("2023-11-19", pending=Pending("run", story.now - DAY, story.now - DAY))
        story = story._with("orders", version=Version(1, NOON, NOON), parts=(running,))

        assert {} == parts_of(story)
        assert "waits for orders" == story.plan.assets["mart"].reason


class TestStaticPartitions:
    def test_each_is_made_once(self) -> None:
        zones = Asset("zones", "shop", keys=PartitionKeys(("de", "nl")), static=True)
        story = at_noon(zones, Asset("mart", "marts", ("zones",), policy=MaxLag(60)))
        parts = (Part("de", data_time=NOON, version=1), Part("nl"))
        begun = story._with("zones", version=Version(1, NOON, NOON), parts=parts)
        made = (parts[0], Part("nl", data_time=NOON, version=2))

        assert ("nl",) == parts_of(begun)["zones"]
        assert "zones" not in parts_of(
            begun._with("zones", version=Version(2, NOON, NOON), parts=made)
        )


class TestKeys:
    regions = Asset("orders", "shop", policy=MaxLag(60), keys=PartitionKeys(("de", "nl")))

    def test_without_any_key_nothing_is_requested(self) -> None:
        customers = replace(self.regions, keys=PartitionKeys(dynamic="customers"))
        story = at_noon(customers)

        assert {} == parts_of(story)
        assert "it has no partition keys yet" == story.plan.assets["orders"].reason

    def test_what_is_read_may_be_of_unknown_age_where_a_policy_has_a_cron(self) -> None:
        policy = MaxLag(60, cron="0 9 * * *")
        mart = Asset("mart", "marts", ("orders", "stock"), policy=policy)
        story = at_noon(replace(self.regions, policy=None), Asset("stock", "shop"), mart)
        parts = (Part("de", data_time=NOON - DAY, version=1), Part("nl"))
        story = story.made("stock", data=-DAY).made("mart", data=-2 * DAY)
        story = story._with("orders", version=Version(9, NOON - DAY, None), parts=parts)

        assert {"orders": ("de", "nl"), "stock": ()} == parts_of(story)

    def test_one_that_was_never_made_is_requested_at_once(self) -> None:
        parts = (Part("de", data_time=NOON, version=1), Part("nl"))
        story = at_noon(self.regions)._with("orders", version=Version(1, NOON, None), parts=parts)

        assert {"orders": ("nl",)} == parts_of(story.after(60))

    def test_each_is_made_again_when_the_policy_needs_it(self) -> None:
        parts = (
            Part("de", data_time=NOON, version=1),
            Part("nl", data_time=NOON + 600, version=2),
        )
        version = Version(2, NOON + 600, NOON)
        story = at_noon(self.regions)._with("orders", version=version, parts=parts)
        start = story.first_request("orders", within=3600)

        assert start is not None
        assert 3500 < start < 3600
        assert "de" in parts_of(story.at(start))["orders"]


class TestWhatAPolicyAsks:
    def daily(self, policy: MaxLag) -> Story:
        story = at_noon(orders(policy=policy)).at(MIDNIGHT + 600)
        return days(story, "orders", complete(FIRST, SECOND, YESTERDAY))

    def test_a_lag_of_26_hours_is_kept_all_day(self) -> None:
        story = self.daily(LONG)

        for hour in range(24):
            target = story.after(hour * HOUR).plan.targets["orders"]
            assert (TargetStatus.FRESH, hour * HOUR + 600) == (target.status, target.lag)

    def test_a_lag_of_10_hours_is_infeasible_by_the_window_and_the_path(self) -> None:
        target = self.daily(MaxLag(10 * 60)).plan.targets["orders"]

        assert TargetStatus.INFEASIBLE is target.status
        # A window, the run of 15 s after it, the tick before that, 2 s of margin.
        assert DAY + 15 + TICK + 2 == pytest.approx(target.shortest, abs=TICK)
        assert span(target.shortest or 0.0) in target.reason
        assert f"a partition of orders is {span(DAY)} long" in target.reason

    def test_a_window_is_infeasible_also_before_anything_was_measured(self) -> None:
        story = at_noon(orders(policy=MaxLag(10 * 60)))
        story = replace(story, states={"orders": replace(story._state("orders"), parts=())})

        assert TargetStatus.INFEASIBLE is story.plan.targets["orders"].status

    def test_yesterdays_by_nine_is_a_lag_of_9_hours_with_a_cron(self) -> None:
        story = self.daily(MaxLag(9 * 60, cron="0 9 * * *"))
        status = [
            story.at(MIDNIGHT + hour * HOUR).plan.targets["orders"].status
            for hour in (1, 8.9, 9.1, 23, 32.9, 33.1)
        ]

        assert [TargetStatus.FRESH] * 5 + [TargetStatus.LATE] == status

    def test_todays_by_nine_is_not_to_be_had(self) -> None:
        target = self.daily(MaxLag(8 * 60, cron="0 9 * * *")).plan.targets["orders"]

        assert TargetStatus.INFEASIBLE is target.status
        assert 9 * HOUR == target.shortest


class TestHoles:
    def test_one_makes_all_after_it_worth_nothing_and_is_named(self) -> None:
        story = at_noon(orders(policy=LONG))
        story = days(story, "orders", complete(FIRST, YESTERDAY))
        target = story.plan.targets["orders"]

        assert 2.5 * DAY == target.lag
        assert target.status is TargetStatus.LATE
        assert target.blame is not None
        assert SECOND in target.reason
        assert {"orders": (SECOND,)} == parts_of(story)

    def test_one_that_fails_is_named_with_its_error(self) -> None:
        story = at_noon(orders(policy=LONG))
        story = days(story, "orders", complete(FIRST, YESTERDAY), failed=SECOND)
        target = story.plan.targets["orders"]

        assert target.status is TargetStatus.BLOCKED
        assert target.blame is not None
        assert (Phase.FAILING, "orders") == (target.blame.phase, target.blame.asset)
        assert SECOND in target.reason
        assert "not readable" in target.reason

    def test_one_upstream_is_named_for_the_target_below(self) -> None:
        story = at_noon(orders(), mart(windows=None, reads={}, policy=LONG))
        story = days(story, "orders", complete(FIRST, YESTERDAY), failed=SECOND)
        target = story.made("mart", data=MIDNIGHT - 2 * DAY).plan.targets["mart"]

        assert target.blame is not None
        assert (Phase.FAILING, "orders") == (target.blame.phase, target.blame.asset)
        assert SECOND in target.reason

    def test_those_before_the_promise_are_noted_and_hold_nothing_up(self) -> None:
        story = at_noon(orders(), mart(windows=None, reads={}, policy=LONG))
        story = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))
        state = replace(story.states["orders"], holes_before_promise=4)
        story = replace(story, states={"orders": state}).made("mart", data=MIDNIGHT)
        target = story.plan.targets["mart"]

        assert TargetStatus.FRESH is target.status
        assert {"orders": 4} == target.never_promised


class TestOpenWindows:
    def test_it_is_made_again_when_the_policy_needs_it(self) -> None:
        story = at_noon(orders(policy=MaxLag(15), windows=OPEN))
        made = {**complete(FIRST, SECOND, YESTERDAY), TODAY: 0.0}
        story = days(story, "orders", made)

        # 900 s of lag, 15 s of run, 2 s of margin: no later than 883 s after the data.
        assert 880 == story.first_request("orders", within=900)
        assert {"orders": (TODAY,)} == parts_of(story.at(880))

    def test_a_lag_that_is_shorter_than_the_window_is_kept(self) -> None:
        story = at_noon(orders(policy=MaxLag(15), windows=OPEN))
        made = {**complete(FIRST, SECOND, YESTERDAY), TODAY: 0.0}
        target = days(story, "orders", made).at(600).plan.targets["orders"]

        assert (TargetStatus.FRESH, 600) == (target.status, target.lag)
        assert target.shortest is not None
        assert target.shortest < 60


class TestDownstream:
    def test_a_partition_waits_until_what_it_reads_is_complete(self) -> None:
        story = at_noon(orders(), mart(policy=LONG))
        story = days(story, "orders", complete(FIRST, YESTERDAY), running=SECOND)
        story = days(story, "mart", {})

        assert {"mart": (FIRST, YESTERDAY)} == parts_of(story)

    def test_it_is_made_as_soon_as_that_is_complete(self) -> None:
        story = at_noon(orders(), mart(policy=LONG))
        story = days(story, "orders", complete(FIRST, SECOND))
        story = days(story, "mart", complete(FIRST, SECOND))
        waiting = parts_of(story)
        story = days(story.after(60), "orders", complete(FIRST, SECOND, YESTERDAY))

        assert {"orders": (YESTERDAY,)} == waiting
        assert {"mart": (YESTERDAY,)} == parts_of(story)

    def test_partitions_of_one_location_go_into_the_same_runs(self) -> None:
        story = at_noon(orders(), mart(policy=LONG, location="shop"))
        story = days(days(story, "orders", {}), "mart", {})
        names = (FIRST, SECOND, YESTERDAY)

        assert {"orders": names, "mart": names} == parts_of(story)
        assert {""} == {asset.run for asset in story.plan.assets.values()}

    def test_a_partition_with_offsets_waits_for_the_windows_before(self) -> None:
        both = {"orders": Reads(windows=(-1, 0))}
        story = at_noon(orders(), mart(policy=LONG, reads=both))
        story = days(story, "orders", complete(FIRST, YESTERDAY), running=SECOND)
        story = days(story, "mart", {})

        assert {"mart": (FIRST,)} == parts_of(story)

    def test_a_partition_that_reads_all_waits_for_all(self) -> None:
        regions = PartitionKeys(("de", "nl"))
        story = at_noon(orders(), mart(policy=LONG, windows=None, keys=regions, reads={}))
        story = days(story, "orders", complete(FIRST, SECOND))
        parts = (Part("de"), Part("nl"))
        story = story._with("mart", parts=parts)

        assert {"orders": (YESTERDAY,), "mart": ("de", "nl")} == parts_of(story)

    def test_the_same_keys_are_read_one_by_one(self) -> None:
        regions = PartitionKeys(("de", "nl"))
        keyed = {"windows": None, "keys": regions}
        same = {"orders": Reads(same_key=True)}
        story = at_noon(orders(**keyed), mart(policy=MaxLag(60), reads=same, **keyed))
        made = Part("de", data_time=NOON, version=1)
        story = story._with(
            "orders", version=Version(1, NOON, None), parts=(made, Part("nl", failures=1))
        )
        story = story._with("mart", parts=(Part("de"), Part("nl")))

        assert ("de",) == parts_of(story)["mart"]

    def test_without_partitions_it_runs_when_more_is_complete(self) -> None:
        whole = mart(policy=LONG, windows=None, reads={})
        story = at_noon(orders(), whole).made("mart", data=MIDNIGHT - DAY)
        same = days(story, "orders", complete(FIRST, SECOND))
        more = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))

        assert {"orders": (YESTERDAY,)} == parts_of(same)
        assert {"mart": ()} == parts_of(more)

    def test_a_backfill_of_an_old_partition_is_nothing_new(self) -> None:
        whole = mart(policy=LONG, windows=None, reads={})
        story = days(at_noon(orders(), whole), "orders", complete(FIRST, SECOND, YESTERDAY))
        story = story.made("mart", data=MIDNIGHT)
        story = days(story.after(60), "orders", {**complete(SECOND, YESTERDAY), FIRST: 60.0})

        assert {} == parts_of(story)

    def test_the_last_partition_is_enough_where_only_that_is_read(self) -> None:
        last = mart(policy=LONG, windows=None, reads={"orders": Reads(last=True)})
        story = days(at_noon(orders(), last), "orders", complete(YESTERDAY))
        story = story.made("mart", data=MIDNIGHT)

        assert TargetStatus.FRESH is story.plan.targets["mart"].status
        assert "mart" not in parts_of(story)

    def test_what_is_upstream_of_windows_is_not_made_before_that_can_matter(self) -> None:
        source = Asset("source", "shop")
        # The policy cannot be held, and a run before midnight would not help.
        table = orders(deps=("source",), policy=MaxLag(10 * 60), reads={})
        story = at_noon(source, table).made("source", data=MIDNIGHT + 60)
        story = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))

        assert NOON + 12 * HOUR <= (story.plan.assets["source"].due or 0.0)
        assert 12 * HOUR == story.first_request("source", within=13 * HOUR)

    def test_what_is_upstream_of_windows_is_due_when_that_can_matter_although_it_is_too_late(
        self,
    ) -> None:
        # Nothing was measured: the policy may be one that can be held. It leaves the path a minute.
        table = orders(deps=("source",), policy=MaxLag(24 * 60 + 1), reads={})
        story = at_noon(Asset("source", "shop"), table).made("source", data=MIDNIGHT + 60)
        story = days(story, "orders", complete(FIRST, SECOND, YESTERDAY))
        states = {
            key: replace(state, durations=AssetState().durations)
            for key, state in story.snapshot.assets.items()
        }

        assert NOON + 12 * HOUR == replace(story, states=states).plan.assets["source"].due

    def test_a_partition_is_not_made_again_while_nothing_upstream_is_new(self) -> None:
        early = {**complete(FIRST, SECOND), YESTERDAY: MIDNIGHT - HOUR}
        story = days(at_noon(orders(), mart(policy=LONG)), "orders", early, running=YESTERDAY)
        story = days(story, "mart", early)

        assert {} == parts_of(story)
        story = days(story.after(60), "orders", complete(FIRST, SECOND, YESTERDAY))
        assert {"mart": (YESTERDAY,)} == parts_of(story)


class TestViews:
    def shown(self, **options: object) -> Asset:
        return replace(Asset("shown", "shop", ("table",), view=True), **options)

    def test_it_is_never_requested_for_freshness(self) -> None:
        story = at_noon(Asset("table", "shop"), self.shown(policy=MaxLag(10)))
        story = story.made("table", "shown", data=0)
        start = story.first_request("table", within=600)

        assert start is not None
        assert {"table": ()} == parts_of(story.at(start))
        assert "without a run" in story.plan.assets["shown"].reason

    def test_it_is_made_when_it_never_was(self) -> None:
        story = at_noon(Asset("table", "shop"), self.shown(policy=MaxLag(10)))

        assert {"shown": ()} == parts_of(story.made("table", data=0))

    @pytest.mark.parametrize(
        ("declared", "made_by", "again"),
        [("2", "1", True), ("2", "2", False), ("2", None, False), (None, "1", False)],
    )
    def test_it_is_made_when_its_code_has_changed(
        self, declared: str | None, made_by: str | None, again: bool
    ) -> None:
        shown = self.shown(policy=MaxLag(10), code_version=declared)
        story = at_noon(Asset("table", "shop"), shown).made("table", "shown", data=0)
        version = Version(9, NOON, NOON, code_version=made_by)
        story = story._with("shown", version=version)

        assert again == ("shown" in story.requested)

    def test_what_reads_it_reads_what_the_view_reads(self) -> None:
        report = Asset("report", "marts", ("shown",), MaxLag(10))
        story = at_noon(Asset("table", "shop"), self.shown(), report)
        story = story.made("table", "shown", "report", data=0)
        start = story.first_request("table", within=600)
        assert start is not None
        story = story.at(start).made("table", data=start)

        assert {"report": ()} == parts_of(story)

    def test_what_reads_it_waits_until_it_is_made(self) -> None:
        report = Asset("report", "marts", ("shown",), MaxLag(10))
        story = at_noon(Asset("table", "shop"), self.shown(), report).made("table", data=0)

        assert {"shown": ()} == parts_of(story)


class TestNothingNew:
    def story(self) -> Story:
        story = at_noon(Asset("drop", "shop"), Asset("mart", "marts", ("drop",), MaxLag(10)))
        return story.made("drop", "mart", data=0)

    def test_the_next_run_is_due_as_if_there_had_been_a_version(self) -> None:
        story = self.story().at(565)
        story = story._with("drop", nothing_new=NothingNew(NOON + 565, NOON + 560))

        assert 560 + 600 - 60 < (story.first_request("drop", within=900) or 0.0) < 560 + 600

    def test_it_is_no_failure_and_shows_as_an_answer(self) -> None:
        story = self.story().at(565)
        story = story._with("drop", nothing_new=NothingNew(NOON + 565, NOON + 560))
        plan = story.plan

        assert plan.targets["mart"].blame is None
        assert "there was nothing new at 12:09:25" in plan.assets["drop"].reason

    def test_what_is_made_from_it_is_not_fresher_for_that(self) -> None:
        story = self.story().at(565)
        story = story._with("drop", nothing_new=NothingNew(NOON + 565, NOON + 560)).at(610)
        target = story.plan.targets["mart"]

        assert (TargetStatus.LATE, 610) == (target.status, target.lag)
        assert "nothing new" in target.reason

    def test_a_consumer_that_had_nothing_new_is_not_asked_for_the_same_again(self) -> None:
        story = self.story().at(300).made("drop", data=300)
        before = story.requested
        story = story._with("mart", nothing_new=NothingNew(NOON + 310, NOON + 300))

        assert {"mart"} == before
        assert set() == story.after(10).requested


class TestObserved:
    def test_an_observation_has_a_run_of_its_own(self) -> None:
        files = Asset("files", "shop", observed=True)
        story = at_noon(files, Asset("mart", "shop", ("files",), MaxLag(10)))
        story = story.made("files", "mart", data=0)
        start = story.first_request("files", within=600)

        assert start is not None
        assert {"files"} == story.at(start).requested

    def test_nothing_below_runs_when_it_says_that_nothing_has_changed(self) -> None:
        files = Asset("files", "shop", observed=True)
        story = at_noon(files, Asset("mart", "shop", ("files",), MaxLag(10)))
        story = story.made("files", "mart", data=0).at(570).made("files", data=570)
        changed = story.requested
        moved = Version(2, NOON, NOON + 570, unchanged_since=NOON)
        story = story._with("mart", version=moved)
        target = story.plan.targets["mart"]

        assert {"mart"} == changed
        assert set() == story.requested
        assert NOON == target.unchanged_since
        assert "nothing has changed upstream since 12:00:00 UTC" in target.reason

    def test_a_source_that_says_that_its_data_is_old_is_looked_at_at_the_pace_of_the_policy(
        self,
    ) -> None:
        files = Asset("files", "shop", observed=True)
        story = at_noon(files, Asset("mart", "shop", ("files",), MaxLag(10)))
        story = story.made("files", "mart", data=-86_400)
        wait = story.first_request("files", within=900)

        assert TargetStatus.LATE is story.plan.targets["mart"].status
        assert wait is not None
        assert 480 <= wait <= 600
