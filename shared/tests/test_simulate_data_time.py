"""The simulated workspace with partitions, views, sources outside and data that does not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from freshline.model import (
    Asset,
    AssetState,
    Graph,
    NothingNew,
    PartitionKeys,
    Reads,
    TargetStatus,
    Version,
)
from freshline.policy import MaxLag
from freshline.simulate import (
    Duration,
    Fault,
    Feed,
    NothingToMake,
    Quiet,
    Request,
    Scenario,
    World,
    figures,
    simulate,
)
from freshline.windows import Windows
from planner_stories import SYNC, USERS, WORKSPACE, graph_of

HOUR = 3600.0
DAY = 24 * HOUR
DAILY = Windows("0 0 * * *", 0.0)
HOURLY = Windows("0 * * * *", 0.0, "%Y-%m-%d-%H:%M")
OPEN_HOURS = Windows("0 * * * *", 0.0, "%Y-%m-%d-%H:%M", end_offset=1)
SAME_TIME = Reads((0, 0))


class Orders:
    """Requests what it was told, at the first tick at or after each time."""

    def __init__(self, *orders: tuple[float, str, str]) -> None:
        """Take the time, the assets and the partitions of each run, both separated by spaces."""
        self._orders = sorted(orders)

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        assert "here" == location
        due = [order for order in self._orders if order[0] <= world.now]
        del self._orders[: len(due)]
        return [Request(tuple(keys.split()), tuple(parts.split())) for _, keys, parts in due]


def ordered(
    until: float, *orders: tuple[float, str, str], assets: Sequence[Asset], **scenario: Any
) -> World:
    """Return the world of `assets` at `until`. Everything takes a minute, and starts at once."""
    graph = Graph({asset.key: asset for asset in assets}, {"here": 5.0})
    durations = dict.fromkeys(graph.assets, Duration(60.0))
    return simulate(Scenario(graph, durations, **scenario), until, Orders(*orders))


def state(world: World, key: str) -> AssetState:
    return world.snapshot().state(key)


def data_time(world: World, key: str) -> float | None:
    version = state(world, key).version
    return version.data_time if version else None


def missing(world: World, key: str) -> list[str]:
    return [part.name for part in state(world, key).parts]


class TestPartitions:
    days = (Asset("days", "here", windows=DAILY),)

    def test_a_day_that_was_made_at_ten_past_midnight_shows_midnight_all_day(self) -> None:
        orders = ((DAY + 600, "days", "1970-01-01"),)

        at_one = ordered(DAY + HOUR, *orders, assets=self.days)
        at_night = ordered(2 * DAY - 1, *orders, assets=self.days)

        assert DAY == data_time(at_one, "days") == data_time(at_night, "days")
        assert [] == missing(at_night, "days")

    def test_a_day_that_is_missing_makes_what_follows_it_worth_nothing(self) -> None:
        world = ordered(3 * DAY + HOUR, (3 * DAY, "days", "1970-01-02"), assets=self.days)

        assert 0.0 == data_time(world, "days")
        assert ["1970-01-01", "1970-01-03"] == missing(world, "days")
        assert 2 * DAY == state(world, "days").last_data_time

    def test_a_backfill_of_a_complete_day_moves_nothing(self) -> None:
        world = ordered(
            2 * DAY + HOUR,
            (DAY, "days", "1970-01-01"),
            assets=self.days,
            backfills=((2 * DAY, "days", "1970-01-01"),),
        )

        assert [False, True] == sorted(run.improved["days"] for run in world.runs)
        assert DAY == data_time(world, "days")
        assert ["1970-01-02"] == missing(world, "days")

    def test_a_partition_of_an_open_window_moves_the_data_time_with_each_run(self) -> None:
        world = ordered(
            HOUR - 1,
            (600, "hours", "1970-01-01-00:00"),
            (1200, "hours", "1970-01-01-00:00"),
            assets=(Asset("hours", "here", windows=OPEN_HOURS),),
        )

        assert [(660.0, 600.0), (1260.0, 1200.0)] == world.versions["hours"]

    def test_a_failed_partition_counts_its_own_failures_only(self) -> None:
        world = ordered(
            2 * DAY + HOUR,
            (2 * DAY, "days", "1970-01-01"),
            (2 * DAY + 300, "days", "1970-01-02"),
            assets=self.days,
            faults=(Fault("days", 2 * DAY, 2 * DAY + 100),),
        )
        (first,) = state(world, "days").parts

        assert ("1970-01-01", 1, "simulated failure") == (first.name, first.failures, first.error)
        assert (0, None) == (state(world, "days").failures, state(world, "days").pending)

    def test_partitions_of_one_asset_may_be_made_at_once_but_none_twice(self) -> None:
        orders = ((2 * DAY, "days", "1970-01-01"), (2 * DAY, "days", "1970-01-02"))
        world = ordered(2 * DAY + 30, *orders, assets=self.days)
        again = ordered(2 * DAY + 30, *orders, orders[0], assets=self.days)

        assert [True, True] == [part.pending is not None for part in state(world, "days").parts]
        assert [] == world.overlaps
        assert [(2 * DAY, "days")] == again.overlaps

    def test_one_run_makes_a_range(self) -> None:
        world = ordered(
            2 * DAY + HOUR, (2 * DAY, "days", "1970-01-01 1970-01-02"), assets=self.days
        )

        assert [(2 * DAY + 60, 2 * DAY)] == world.versions["days"]
        assert 2 == figures(world, 2 * DAY, 2 * DAY + HOUR).materializations

    def test_complete_partitions_do_not_age_what_reads_them(self) -> None:
        world = ordered(
            3 * DAY - 1,
            (2 * DAY, "days", "1970-01-02"),
            (2 * DAY + 600, "same", "1970-01-02"),
            (2 * DAY + 600, "both", "1970-01-02"),
            assets=(
                *self.days,
                Asset("same", "here", ("days",), windows=DAILY, reads={"days": SAME_TIME}),
                Asset("both", "here", ("days",), windows=DAILY, reads={"days": Reads((-1, 0))}),
            ),
        )
        both = {part.name: part.data_time for part in state(world, "both").parts}

        assert ["1970-01-01"] == missing(world, "same")
        assert {"1970-01-01": None, "1970-01-02": 0.0} == both

    def test_a_day_of_hours_is_complete_when_all_of_them_are(self) -> None:
        hours = [f"1970-01-01-{hour:02}:00" for hour in range(24)]
        assets = (
            Asset("hours", "here", windows=HOURLY),
            Asset("day", "here", ("hours",), windows=DAILY, reads={"hours": SAME_TIME}),
        )
        made = (DAY + HOUR, "day", "1970-01-01")

        complete = ordered(DAY + 2 * HOUR, (DAY, "hours", " ".join(hours)), made, assets=assets)
        del hours[7]
        hole = ordered(DAY + 2 * HOUR, (DAY, "hours", " ".join(hours)), made, assets=assets)

        assert (DAY, []) == (data_time(complete, "day"), missing(complete, "day"))
        assert (7 * HOUR, ["1970-01-01"]) == (data_time(hole, "day"), missing(hole, "day"))

    def test_a_day_that_is_open_reaches_as_far_as_its_hours(self) -> None:
        days = Windows("0 0 * * *", 0.0, end_offset=1)
        world = ordered(
            3 * HOUR,
            (2 * HOUR, "hours", "1970-01-01-00:00 1970-01-01-01:00"),
            (2 * HOUR + 600, "day", "1970-01-01"),
            assets=(
                Asset("hours", "here", windows=HOURLY),
                Asset("day", "here", ("hours",), windows=days, reads={"hours": SAME_TIME}),
            ),
        )

        assert (2 * HOUR, ["1970-01-01"]) == (data_time(world, "day"), missing(world, "day"))

    def test_an_asset_without_partitions_has_the_data_time_of_all_or_of_the_last(self) -> None:
        world = ordered(
            2 * DAY + HOUR,
            (2 * DAY, "days", "1970-01-02"),
            (2 * DAY + 600, "all last", ""),
            assets=(
                *self.days,
                Asset("all", "here", ("days",)),
                Asset("last", "here", ("days",), reads={"days": Reads(last=True)}),
            ),
        )

        assert (0.0, 2 * DAY) == (data_time(world, "all"), data_time(world, "last"))

    def test_the_oldest_key_decides(self) -> None:
        shops = Asset("shops", "here", keys=PartitionKeys(("north", "south")))
        one = ordered(HOUR, (0, "shops", "north"), assets=(shops,))
        two = ordered(HOUR, (0, "shops", "north"), (600, "shops", "south"), assets=(shops,))

        assert (None, 0.0) == (data_time(one, "shops"), data_time(two, "shops"))
        assert ["north", "south"] == missing(two, "shops")

    def test_keys_and_windows_are_followed_for_each_key(self) -> None:
        both = Asset("both", "here", windows=DAILY, keys=PartitionKeys(("x", "y"), first=True))
        world = ordered(
            2 * DAY + HOUR,
            (2 * DAY, "both", "x|1970-01-01 x|1970-01-02 y|1970-01-01"),
            assets=(both,),
        )

        assert (DAY, ["y|1970-01-02"]) == (data_time(world, "both"), missing(world, "both"))


class TestViews:
    table, view = Asset("table", "here"), Asset("view", "here", ("table",), view=True)

    def test_a_view_is_as_fresh_as_its_inputs_without_a_run(self) -> None:
        world = ordered(
            HOUR, (0, "table", ""), (100, "view", ""), (600, "table", ""),
            assets=(self.table, self.view),
        )  # fmt: skip

        assert [(160.0, 0.0), (660.0, 600.0)] == world.versions["view"]

    def test_what_reads_a_view_reads_its_inputs_at_that_moment(self) -> None:
        report = Asset("report", "here", ("view",))
        world = ordered(
            HOUR, (0, "table", ""), (100, "view", ""), (600, "table", ""), (700, "report", ""),
            assets=(self.table, self.view, report),
        )  # fmt: skip

        assert 600.0 == data_time(world, "report")


class TestUnchangedData:
    assets = (Asset("source", "here"), Asset("mart", "here", ("source",)))
    orders = ((0, "source", ""), (100, "mart", ""), (600, "source", ""))

    def test_what_was_made_from_it_moves_on_without_a_run(self) -> None:
        world = ordered(HOUR, *self.orders, assets=self.assets, quiet=(Quiet("source", 0.0),))

        assert [(160.0, 0.0), (660.0, 600.0)] == world.versions["mart"]
        assert Version(2, 160.0, 600.0, unchanged_since=0.0) == state(world, "mart").version

    @pytest.mark.parametrize("quiet", [Quiet("source", 0.1), Quiet("source", 0.0, 599.9)])
    def test_one_row_in_between_is_a_change(self, quiet: Quiet) -> None:
        world = ordered(HOUR, *self.orders, assets=self.assets, quiet=(quiet,))

        assert [(160.0, 0.0)] == world.versions["mart"]

    def test_a_run_that_has_read_the_old_data_moves_on_as_well(self) -> None:
        world = ordered(
            720.0, (0, "source", ""), (600, "source", ""), (655, "mart", ""),
            assets=self.assets, quiet=(Quiet("source", 0.0),),
        )  # fmt: skip

        assert [(715.0, 600.0)] == world.versions["mart"]

    def test_rows_after_the_window_of_a_partition_do_not_change_it(self) -> None:
        hours = Asset("hours", "here", windows=OPEN_HOURS)
        mart = Asset("mart", "here", ("hours",), windows=OPEN_HOURS, reads={"hours": SAME_TIME})
        first = "1970-01-01-00:00"
        world = ordered(
            HOUR + 700, (3000, "hours", first), (3100, "mart", first), (HOUR + 600, "hours", first),
            assets=(hours, mart), quiet=(Quiet("hours", 3000.0, HOUR),),
        )  # fmt: skip

        assert HOUR == data_time(world, "mart")
        assert ["1970-01-01-01:00"] == missing(world, "mart")


class TestOutside:
    def test_a_feed_is_reported_with_the_age_of_its_data(self) -> None:
        feed = Asset("feed", "elsewhere", never_requested="somebody else makes it", elsewhere=True)
        world = ordered(
            700.0, (650, "mart", ""),
            assets=(feed, Asset("mart", "here", ("feed",))),
            feeds=(Feed("feed", every=600.0, age=100.0),),
        )  # fmt: skip

        assert [(0.0, -100.0), (600.0, 500.0)] == world.versions["feed"]
        assert 1 == len(world.runs)
        assert 0 == figures(world, 0.0, 600.0).materializations

    def test_an_observation_is_neither_a_sync_nor_a_materialization(self) -> None:
        source = Asset("source", "here", observed=True)
        world = ordered(HOUR, (0, "source", ""), (600, "source", ""), assets=(source,))
        found = figures(world, 0.0, HOUR)

        assert (0, 0, 2) == (found.root_syncs, found.materializations, found.observations)
        assert 600.0 == data_time(world, "source")

    def test_a_run_that_had_nothing_to_make_is_an_answer(self) -> None:
        world = ordered(
            HOUR, (0, "source", ""), (600, "source mart", ""),
            assets=(Asset("source", "here"), Asset("mart", "here", ("source",))),
            nothing_to_make=(NothingToMake("source", 600.0),),
        )  # fmt: skip

        assert 0.0 == data_time(world, "source")
        assert NothingNew(660.0, 600.0) == state(world, "source").nothing_new
        assert NothingNew(660.0, None) == state(world, "mart").nothing_new
        assert 0 == state(world, "source").failures


class TestScenes:
    """What the planner makes of it; `bench/freshness.py` has the same scenes at full size."""

    def test_a_night_without_a_row_costs_syncs_and_nothing_else(self) -> None:
        quiet = tuple(Quiet(key, HOUR) for key in (SYNC, USERS))
        graph = graph_of(*WORKSPACE)
        durations = {**dict.fromkeys(graph.assets, Duration(15.0)), SYNC: Duration(60.0)}
        usual = simulate(Scenario(graph, durations), 4 * HOUR)
        night = simulate(Scenario(graph, durations, quiet=quiet), 4 * HOUR)
        begin = HOUR + 600.0  # after the first cycle
        found, owed = figures(night, begin, 4 * HOUR), figures(usual, begin, 4 * HOUR)

        assert [] == [
            run.keys
            for run in night.runs
            if run.requested_at >= begin and run.location != "ingestion"
        ]
        assert owed.root_syncs == found.root_syncs
        assert {0.0} == {target.share for target in found.targets.values()}

    def test_views_cost_what_their_tables_cost(self) -> None:
        assets = [Asset(f"table_{number}", "here") for number in range(4)]
        for number in range(40):
            deps = (f"view_{number - 4}",) if number >= 4 else (f"table_{number}",)
            policy = MaxLag(10) if number >= 36 else None
            assets.append(Asset(f"view_{number}", "here", deps, policy, view=True))
        graph = graph_of(*assets)
        world = simulate(Scenario(graph, dict.fromkeys(graph.assets, Duration(10.0))), 2 * HOUR)
        found = figures(world, HOUR, 2 * HOUR)

        assert [1] * 40 == [
            sum(f"view_{number}" in run.keys for run in world.runs) for number in range(40)
        ]
        assert found.root_syncs == found.materializations
        assert {0.0} == {target.share for target in found.targets.values()}
        assert 8 == len(world.plan().assets)

    def test_a_closed_window_is_made_once_and_not_before_it_has_closed(self) -> None:
        assets = [
            asset
            for place in ("one", "two", "three")
            for asset in (
                Asset(f"day/{place}", place, windows=DAILY),
                Asset(f"target/{place}", place, (f"day/{place}",), MaxLag(60)),
            )
        ]
        graph = graph_of(*assets, tick=300.0)
        world = simulate(
            Scenario(graph, dict.fromkeys(graph.assets, Duration(60.0))), 3 * DAY + HOUR
        )
        days = [run for run in world.runs if run.parts]

        assert [("1970-01-01",), ("1970-01-02",), ("1970-01-03",)] == [
            run.parts for run in days if "day/one" in run.keys
        ]
        assert [DAY, 2 * DAY, 3 * DAY] == sorted({run.requested_at for run in days})
        assert 2 * len(days) == len(world.runs)

    @pytest.mark.parametrize(
        ("policy", "status", "late"),
        [
            (MaxLag(9 * 60, cron="0 9 * * *"), TargetStatus.FRESH, False),
            (MaxLag(26 * 60), TargetStatus.FRESH, False),
            (MaxLag(10 * 60), TargetStatus.INFEASIBLE, True),
        ],
    )
    def test_yesterdays_partition_keeps_a_lag_of_more_than_a_day(
        self, policy: MaxLag, status: TargetStatus, late: bool
    ) -> None:
        graph = graph_of(
            Asset("raw", "one", windows=DAILY),
            Asset("mart", "two", ("raw",), policy, windows=DAILY, reads={"raw": SAME_TIME}),
            tick=300.0,
        )
        world = simulate(
            Scenario(graph, dict.fromkeys(graph.assets, Duration(300.0))), 4 * DAY + HOUR
        )

        assert status == world.plan().targets["mart"].status
        assert late == (figures(world, DAY + HOUR, 4 * DAY).targets["mart"].share > 0)
