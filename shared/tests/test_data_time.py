"""What data time means for partitions, views, data from outside and data that did not change.

Each sentence of the definition is a test, against a real instance with real runs. The words that
people read are in docs/freshness.md.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import dagster as dg
import pytest
from freshline.errors import PolicyError
from freshline.model import Phase, TargetStatus
from freshline.policy import max_lag
from freshline.stamp import data_time_metadata
from freshline.words import span
from scenes import Scene, clock

HOUR = 3600.0
DAY = 24 * HOUR

DAILY = dg.DailyPartitionsDefinition("2026-03-07")
REGIONS = dg.StaticPartitionsDefinition(["de", "nl"])
YESTERDAY, TODAY = "2026-03-09", "2026-03-10"


@pytest.fixture
def scene(memory: dg.DagsterInstance) -> Scene:
    return Scene(memory, "10 00:10")


def made(key: str, *deps: Any, minutes: float = 0, cron: str = "", **options: Any) -> Any:
    """Return an asset, with a policy if `minutes` are given."""
    if minutes:
        policy = max_lag(minutes=minutes, cron=cron) if cron else max_lag(minutes=minutes)
        options["metadata"] = {**options.get("metadata", {}), **policy}

    @dg.asset(name=key, deps=list(deps), **options)
    def asset() -> None: ...

    return asset


def daily(key: str, *deps: Any, partitions: Any = DAILY, **options: Any) -> Any:
    return made(key, *deps, partitions_def=partitions, **options)


def reading(key: str, mapping: dg.PartitionMapping) -> dg.AssetDep:
    return dg.AssetDep(key, partition_mapping=mapping)


def stated(text: str) -> dict[str, Any]:
    """Return metadata that says up to when data is there."""
    return {"freshline/data_time": dg.MetadataValue.timestamp(clock(text))}


class TestTimePartitions:
    """Partition i covers rows of the window [s, e); d is the data time of its newest version."""

    def test_a_partition_is_complete_when_its_data_time_is_not_before_its_end(
        self, scene: Scene
    ) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08")
        scene.report("orders", partition=YESTERDAY, metadata=stated("10 00:00"))

        assert clock("10 00:00") == scene.data_time("orders")

    def test_a_partition_with_older_data_is_not_complete_and_reaches_as_far_as_its_data(
        self, scene: Scene
    ) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08")
        scene.report("orders", partition=YESTERDAY, metadata=stated("09 23:00"))

        assert clock("09 23:00") == scene.data_time("orders")
        assert {"orders": (YESTERDAY,)} == scene.after(minutes=15).requested()

    def test_a_missing_partition_reaches_as_far_as_its_window_begins(self, scene: Scene) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08")

        assert clock("09 00:00") == scene.data_time("orders")

    def test_all_complete_reach_to_the_end_of_the_last_one(self, scene: Scene) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08", "09")

        assert clock("10 00:00") == scene.data_time("orders")
        assert clock("10 00:00") == scene.at("10 23:59").data_time("orders")

    def test_yesterdays_partition_made_at_ten_past_keeps_a_lag_of_26_hours_all_day(
        self, scene: Scene
    ) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08", "09")

        for hour in range(1, 24):
            target = scene.at(f"10 {hour:02}:00").target("orders")
            assert (TargetStatus.FRESH, hour * HOUR) == (target.status, target.lag)
            assert {} == scene.requested()

    def test_a_lag_of_10_hours_is_infeasible_which_is_said_with_the_figure(
        self, scene: Scene
    ) -> None:
        orders = daily("orders", minutes=10 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08", "09")
        target = scene.at("10 01:00").target("orders")

        assert target.status is TargetStatus.INFEASIBLE
        assert target.shortest is not None
        assert DAY < target.shortest < DAY + 5 * 60
        assert span(target.shortest) in target.reason
        assert f"a partition of orders is {span(DAY)} long" in target.reason

    def test_yesterdays_by_nine_is_a_lag_of_9_hours_with_a_cron(self, scene: Scene) -> None:
        orders = daily("orders", minutes=9 * 60, cron="0 9 * * *")
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08", "09")

        assert scene.at("10 08:59").target("orders").status is TargetStatus.FRESH
        assert scene.at("10 23:00").target("orders").status is TargetStatus.FRESH
        assert scene.at("11 08:59").target("orders").status is TargetStatus.FRESH
        assert scene.at("11 09:01").target("orders").status is TargetStatus.LATE

    def test_an_open_partition_that_is_made_every_ten_minutes_moves_the_data_time_with_it(
        self, scene: Scene
    ) -> None:
        open_too = dg.DailyPartitionsDefinition("2026-03-09", end_offset=1)
        orders = daily("orders", partitions=open_too, minutes=15)
        scene.publish("shop", orders)
        scene.run_days(orders, "09")

        for minute in range(10, 60, 10):
            scene.at(f"10 00:{minute}").run_days(orders, "10")
            assert scene.now == scene.data_time("orders")
            assert scene.target("orders").status is TargetStatus.FRESH
        assert {} == scene.at("10 01:04").requested()
        assert {"orders": (TODAY,)} == scene.at("10 01:04:58").requested()

    def test_a_backfill_of_an_old_complete_partition_moves_nothing(self, scene: Scene) -> None:
        orders, mart = daily("orders"), made("mart", "orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "08")
        scene.run(mart)
        scene.at("10 03:00").run_days(orders, "07")
        scene.run(mart)

        assert clock("09 00:00") == scene.data_time("orders")
        assert clock("09 00:00") == scene.data_time("mart")
        assert scene.target("mart").status is TargetStatus.LATE

    def test_one_hole_makes_all_after_it_worth_nothing_until_it_is_filled(
        self, scene: Scene
    ) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "09")
        holed = scene.data_time("orders")
        target = scene.target("orders")
        requested = scene.requested()
        scene.run_days(orders, "08")

        assert clock("08 00:00") == holed
        assert target.blame is not None
        assert "2026-03-08" in target.reason
        assert {"orders": ("2026-03-08",)} == requested
        assert clock("10 00:00") == scene.data_time("orders")

    def test_a_failed_partition_holds_up_the_data_time_and_no_other_run(self, scene: Scene) -> None:
        @dg.asset(partitions_def=DAILY, metadata=max_lag(minutes=26 * 60))
        def orders(context: dg.AssetExecutionContext) -> None:
            if context.partition_key == "2026-03-08":
                raise ValueError("the eighth is not readable")

        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08")
        requested = scene.requested()
        scene.run_days(orders, "09")
        target = scene.target("orders")

        assert {"orders": (YESTERDAY,)} == requested
        assert clock("08 00:00") == scene.data_time("orders")
        assert target.status is TargetStatus.BLOCKED
        assert "2026-03-08" in target.reason
        assert "the eighth is not readable" in target.reason

    def test_a_failed_partition_is_tried_again_with_growing_pauses(self, scene: Scene) -> None:
        @dg.asset(partitions_def=DAILY, metadata=max_lag(minutes=26 * 60))
        def orders(context: dg.AssetExecutionContext) -> None:
            raise ValueError(context.partition_key)

        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08", "09")

        assert {} == scene.after(minutes=0.4).requested()
        again = scene.after(minutes=0.2).requested()
        assert {"orders": ("2026-03-07", "2026-03-08", YESTERDAY)} == again


class TestHolesBeforeThePromise:
    """Holes that are older than the lag plus two windows when the policy came, or as set."""

    LONG = dg.DailyPartitionsDefinition("2026-02-20")

    def test_they_make_nothing_late_and_are_noted(self, scene: Scene) -> None:
        orders = daily("orders", partitions=self.LONG, minutes=26 * 60)
        scene.publish("shop", orders)
        # 10 March 00:10, less 26 hours, less two days: 6 March 22:10.
        scene.run_days(orders, "06", "07", "08", "09")
        target = scene.target("orders")

        assert target.status is TargetStatus.FRESH
        assert {} == scene.requested()
        assert {"orders": 14} == target.never_promised

    def test_a_hole_after_it_is_promised(self, scene: Scene) -> None:
        orders = daily("orders", partitions=self.LONG, minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08", "09")

        assert clock("06 00:00") == scene.data_time("orders")
        assert {"orders": ("2026-03-06",)} == scene.requested()

    def test_the_promise_does_not_move_on_with_time(self, scene: Scene) -> None:
        orders = daily("orders", partitions=self.LONG, minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "06", "07", "08", "09")
        scene.at("18 12:00")

        assert clock("10 00:00") == scene.data_time("orders")
        assert ("2026-03-10", "2026-03-11") == scene.requested()["orders"][:2]

    def test_it_can_be_set_on_the_asset(self, scene: Scene) -> None:
        since = {"freshline/complete_from": "2026-03-09"}
        orders = daily("orders", partitions=self.LONG, minutes=26 * 60, metadata=since)
        scene.publish("shop", orders)
        scene.run_days(orders, "09")
        target = scene.target("orders")

        assert clock("10 00:00") == scene.data_time("orders")
        assert target.status is TargetStatus.FRESH
        assert {"orders": 17} == target.never_promised

    def test_it_counts_for_what_a_policy_downstream_needs(self, scene: Scene) -> None:
        orders = daily("orders", partitions=self.LONG)
        mart = made("mart", "orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "06", "07", "08", "09")
        scene.run(mart)

        assert scene.target("mart").status is TargetStatus.FRESH
        assert {"orders": 14} == scene.target("mart").never_promised


class TestNextPartitions:
    def test_the_first_incomplete_ones_are_requested_in_order_one_run_each(
        self, scene: Scene
    ) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        asset = scene.asset("orders")

        assert asset.request
        assert ("2026-03-07", "2026-03-08", YESTERDAY) == asset.parts
        assert not asset.together

    @pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
    def test_one_run_makes_the_range_with_a_single_run_backfill_policy(self, scene: Scene) -> None:
        orders = daily("orders", minutes=26 * 60, backfill_policy=dg.BackfillPolicy.single_run())
        scene.publish("shop", orders)
        asset = scene.asset("orders")

        assert asset.request
        assert ("2026-03-07", "2026-03-08", YESTERDAY) == asset.parts
        assert asset.together

    def test_a_window_is_not_requested_before_it_closes(self, scene: Scene) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08", "09")
        before = [scene.at(f"10 {time}").requested() for time in ("06:00", "22:00", "23:59")]

        assert [{}, {}, {}] == before
        assert {"orders": (TODAY,)} == scene.at("11 00:00").requested()

    def test_a_partition_that_is_under_way_is_not_requested_again(self, scene: Scene) -> None:
        orders = daily("orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.run_days(orders, "07", "08")
        job = dg.Definitions(assets=[orders]).resolve_implicit_global_asset_job_def()
        with scene.stopped():
            scene.instance.create_run_for_job(
                job,
                asset_selection={dg.AssetKey("orders")},
                tags={"dagster/partition": YESTERDAY},
                status=dg.DagsterRunStatus.STARTING,
            )

        assert {} == scene.requested()


class TestDownstreamOfPartitions:
    def test_the_same_windows_are_read_one_by_one(self, scene: Scene) -> None:
        orders, mart = daily("orders"), daily("mart", "orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "09")

        # The eighth is missing, and the mart's ninth does not read it.
        assert {"orders": ("2026-03-08",), "mart": ("2026-03-07", YESTERDAY)} == scene.requested()

        scene.run_days(mart, "07", "09")
        assert clock("08 00:00") == scene.data_time("mart")
        scene.run_days(orders, "08")
        assert {"mart": ("2026-03-08",)} == scene.requested()
        scene.run_days(mart, "08")
        assert clock("10 00:00") == scene.data_time("mart")

    def test_a_partition_that_was_made_before_its_input_was_complete_is_not_complete(
        self, scene: Scene
    ) -> None:
        orders, mart = daily("orders"), daily("mart", "orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "08")
        scene.report("orders", partition=YESTERDAY, metadata=stated("09 18:00"))
        scene.run_days(mart, "07", "08", "09")
        early = scene.data_time("mart")
        scene.run_days(orders, "09")

        assert clock("09 18:00") == early
        assert {"mart": (YESTERDAY,)} == scene.requested()

    def test_a_complete_partition_does_not_age_what_reads_it(self, scene: Scene) -> None:
        orders, mart = daily("orders"), daily("mart", "orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "08", "09")
        scene.run_days(mart, "07", "08", "09")

        assert clock("10 00:00") == scene.data_time("mart")

    def test_a_version_read_before_a_backfill_of_another_partition_is_what_was_read(
        self, scene: Scene
    ) -> None:
        orders, mart = daily("orders"), daily("mart", "orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "08", "09")
        # The newest event of the input is that of another partition.
        scene.at("10 02:00").run_days(orders, "07")
        scene.run_days(mart, "07", "08", "09")

        assert clock("10 00:00") == scene.data_time("mart")
        assert {} == scene.requested()

    def test_windows_with_offsets_read_the_windows_before(self, scene: Scene) -> None:
        orders = daily("orders")
        week = dg.TimeWindowPartitionMapping(start_offset=-2, end_offset=0)
        # Its first partition reads none before the first.
        later = dg.DailyPartitionsDefinition("2026-03-09")
        mart = daily("mart", reading("orders", week), partitions=later, minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "08", "09")

        assert {"orders": ("2026-03-07",)} == scene.requested()
        scene.run_days(orders, "07")
        assert {"mart": (YESTERDAY,)} == scene.requested()
        scene.run_days(mart, "09")
        assert clock("10 00:00") == scene.data_time("mart")

    def test_what_reads_only_the_window_before_is_a_window_older(self, scene: Scene) -> None:
        orders = daily("orders")
        before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
        later = dg.DailyPartitionsDefinition("2026-03-08")
        mart = daily("mart", reading("orders", before), partitions=later, minutes=50 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "08", "09")
        scene.run_days(mart, "08", "09")

        assert clock("09 00:00") == scene.data_time("mart")
        assert scene.target("mart").status is TargetStatus.FRESH

    def test_all_partitions_are_read_with_that_mapping(self, scene: Scene) -> None:
        orders = daily("orders")
        every = reading("orders", dg.AllPartitionMapping())
        mart = daily("mart", every, partitions=REGIONS, minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "08")
        for region in ("de", "nl"):
            scene.run(mart, partition_key=region)

        assert clock("09 00:00") == scene.data_time("mart")

    def test_the_last_partition_is_read_with_that_mapping(self, scene: Scene) -> None:
        orders = daily("orders")
        mart = made("mart", reading("orders", dg.LastPartitionMapping()), minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "09")
        scene.run(mart)

        assert clock("07 00:00") == scene.data_time("orders")
        assert clock("10 00:00") == scene.data_time("mart")

    def test_without_partitions_it_takes_the_data_time_of_all(self, scene: Scene) -> None:
        orders, mart = daily("orders"), made("mart", "orders", minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run_days(orders, "07", "08", "09")
        scene.run(mart)

        assert clock("10 00:00") == scene.data_time("mart")
        assert scene.target("mart").status is TargetStatus.FRESH

    def test_coarser_windows_are_complete_with_the_last_of_the_finer(self, scene: Scene) -> None:
        hourly = dg.HourlyPartitionsDefinition("2026-03-09-00:00")
        later = dg.DailyPartitionsDefinition("2026-03-09")
        orders = daily("orders", partitions=hourly)
        mart = daily("mart", "orders", partitions=later, minutes=26 * 60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        for hour in range(23):
            scene.run(orders, partition_key=f"2026-03-09-{hour:02}:00")
        before = scene.requested()
        scene.run(orders, partition_key="2026-03-09-23:00")

        assert {"orders": ("2026-03-09-23:00",)} == before
        assert {"mart": (YESTERDAY,)} == scene.requested()


class TestKeys:
    """Static and dynamic partitions, and windows with either."""

    def test_static_partitions_are_as_old_as_the_oldest_key(self, scene: Scene) -> None:
        orders = daily("orders", partitions=REGIONS, minutes=60)
        scene.publish("shop", orders)
        scene.run(orders, partition_key="de")
        scene.at("10 00:20").run(orders, partition_key="nl")

        assert clock("10 00:10") == scene.data_time("orders")
        scene.at("10 00:30").run(orders, partition_key="de")
        assert clock("10 00:20") == scene.data_time("orders")

    def test_a_key_without_a_version_is_of_no_age(self, scene: Scene) -> None:
        orders = daily("orders", partitions=REGIONS, minutes=60)
        scene.publish("shop", orders)
        scene.run(orders, partition_key="de")

        assert scene.data_time("orders") is None
        assert scene.target("orders").status is TargetStatus.LATE
        assert {"orders": ("nl",)} == scene.requested()

    def test_dynamic_partitions_are_those_that_the_instance_keeps(self, scene: Scene) -> None:
        shops = dg.DynamicPartitionsDefinition(name="shops")
        orders = daily("orders", partitions=shops, minutes=60)
        scene.publish("shop", orders)
        scene.instance.add_dynamic_partitions("shops", ["north"])
        scene.run(orders, partition_key="north")
        alone = scene.data_time("orders")
        scene.instance.add_dynamic_partitions("shops", ["south"])

        assert clock("10 00:10") == alone
        assert {"orders": ("south",)} == scene.requested()
        assert scene.data_time("orders") is None

    def test_the_same_keys_are_read_one_by_one(self, scene: Scene) -> None:
        orders = daily("orders", partitions=REGIONS)
        mart = daily("mart", "orders", partitions=REGIONS, minutes=60)
        scene.publish("shop", orders)
        scene.publish("marts", mart)
        scene.run(orders, partition_key="de")

        assert {"orders": ("nl",), "mart": ("de",)} == scene.requested()

    def test_windows_and_keys_count_by_key_and_then_the_smallest(self, scene: Scene) -> None:
        both = dg.MultiPartitionsDefinition({"day": DAILY, "region": REGIONS})
        orders = daily("orders", partitions=both, minutes=26 * 60)
        scene.publish("shop", orders)

        def run(region: str, *days: str) -> None:
            for day in days:
                key = dg.MultiPartitionKey({"day": f"2026-03-{day}", "region": region})
                scene.run(orders, partition_key=key)

        run("de", "07", "08", "09")
        run("nl", "07")

        assert clock("08 00:00") == scene.data_time("orders")
        assert {"orders": ("2026-03-08|nl", "2026-03-09|nl")} == scene.requested()
        run("nl", "08", "09")
        assert clock("10 00:00") == scene.data_time("orders")


class EveryOtherDay(dg.PartitionMapping):
    """A mapping that only the code of its location knows."""

    description = "the days with an even number"

    def get_downstream_partitions_for_partitions(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def get_upstream_mapped_partitions_result_for_partitions(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def validate_partition_mapping(self, *_: Any, **__: Any) -> None: ...


EXCLUDED = dg.TimeWindowPartitionsDefinition(
    start="2026-03-07", fmt="%Y-%m-%d", cron_schedule="0 0 * * *", exclusions=["0 0 * * 0"]
)


class TestWhatStaysRefused:
    @pytest.mark.filterwarnings("ignore:Non-built-in PartitionMappings")
    @pytest.mark.parametrize("why", ["EveryOtherDay", "exclusions"])
    def test_what_cannot_be_followed_is_not_requested_and_says_why(
        self, scene: Scene, why: str
    ) -> None:
        orders, report = daily("orders"), made("report", "mart", minutes=60)
        if why == "exclusions":
            mart = daily("mart", partitions=EXCLUDED)
        else:
            mart = daily("mart", reading("orders", EveryOtherDay()))
        scene.publish("shop", orders, mart)
        scene.publish("marts", report)
        target = scene.target("report")

        assert {} == scene.requested()
        assert target.blame is not None
        assert ("mart", Phase.UNSCHEDULED) == (target.blame.asset, target.blame.phase)
        assert why in target.reason

    def test_a_version_of_it_is_read_once(self, scene: Scene) -> None:
        mart = daily("mart", partitions=EXCLUDED)
        report = made("report", "mart", minutes=60)
        scene.publish("shop", mart)
        scene.publish("marts", report)
        scene.report("mart", partition=YESTERDAY)

        assert {"report": ()} == scene.requested()
        scene.run(report)
        assert {} == scene.after(minutes=70).requested()

    def test_a_policy_on_it_stops_the_location_at_load_and_says_why(self, scene: Scene) -> None:
        with pytest.raises(PolicyError, match="exclusions"):
            scene.publish("shop", daily("mart", partitions=EXCLUDED, minutes=60))


def view(key: str, *deps: str, **options: Any) -> Any:
    metadata = {"freshline/view": True, **options.pop("metadata", {})}
    return made(key, *deps, metadata=metadata, **options)


class TestViews:
    def test_a_view_is_as_fresh_as_its_inputs_at_every_moment_without_a_run(
        self, scene: Scene
    ) -> None:
        table, shown = made("table"), view("shown", "table", minutes=30)
        scene.publish("shop", table, shown)
        scene.run(table)
        scene.run(shown)
        scene.at("10 00:20").run(table)

        assert clock("10 00:20") == scene.data_time("shown")
        assert scene.target("shown").status is TargetStatus.FRESH

    def test_it_is_as_old_as_the_oldest_of_its_inputs(self, scene: Scene) -> None:
        one, other = made("one"), made("other")
        shown = view("shown", "one", "other", minutes=30)
        scene.publish("shop", one, other, shown)
        scene.run(one, other)
        scene.run(shown)
        scene.at("10 00:20").run(one)

        assert clock("10 00:10") == scene.data_time("shown")

    def test_it_is_made_when_it_never_was(self, scene: Scene) -> None:
        table, shown = made("table"), view("shown", "table", minutes=30)
        scene.publish("shop", table, shown)
        scene.run(table)

        assert {"shown": ()} == scene.requested()

    def test_it_is_made_when_its_code_has_changed(self, scene: Scene) -> None:
        table = made("table")
        shown = view("shown", "table", minutes=30, code_version="1")
        scene.publish("shop", table, shown)
        scene.run(table)
        scene.run(shown)
        same = scene.requested()
        changed = view("shown", "table", minutes=30, code_version="2")
        scene.publish("shop", table, changed)

        assert {} == same
        assert {"shown": ()} == scene.requested()

    def test_it_is_never_made_for_freshness_and_what_it_reads_is(self, scene: Scene) -> None:
        table, shown = made("table"), view("shown", "table", minutes=30)
        scene.publish("shop", table, shown)
        scene.run(table)
        scene.run(shown)
        scene.at("10 01:30")

        assert {"table": ()} == scene.requested()
        scene.run(table)
        assert {} == scene.requested()
        assert scene.target("shown").status is TargetStatus.FRESH

    def test_what_is_made_from_a_view_is_made_from_what_the_view_reads(self, scene: Scene) -> None:
        table, shown, mart = made("table"), view("shown", "table"), made("mart", "shown", minutes=9)
        scene.publish("shop", table, shown)
        scene.publish("marts", mart)
        scene.run(table)
        scene.run(shown)
        scene.run(mart)
        scene.at("10 00:18").run(table)

        assert clock("10 00:10") == scene.data_time("mart")
        assert {"mart": ()} == scene.after(minutes=1).requested()
        scene.run(mart)
        assert clock("10 00:18") == scene.data_time("mart")

    @pytest.mark.filterwarnings("ignore:Virtual assets")
    def test_an_asset_that_dagster_calls_virtual_is_a_view(self, scene: Scene) -> None:
        table = made("table")
        spec = dg.AssetSpec("shown", deps=["table"], is_virtual=True, metadata=max_lag(minutes=30))

        @dg.multi_asset(specs=[spec])
        def shown() -> Any:
            yield dg.MaterializeResult(asset_key="shown")

        scene.publish("shop", table, shown)
        scene.run(table)
        scene.run(shown)
        scene.at("10 00:20").run(table)

        assert clock("10 00:20") == scene.data_time("shown")

    def test_a_workspace_of_views_costs_what_its_tables_cost(self, scene: Scene) -> None:
        tables = [made(f"table_{number}") for number in range(3)]
        views = [
            view(f"view_{number}", f"table_{number % 3}", minutes=10 if number < 10 else 0)
            for number in range(60)
        ]
        scene.publish("shop", *tables, *views)
        scene.run(*tables)
        scene.run(*views)
        early = scene.at("10 00:15").requested()

        assert {} == early
        scene.at("10 00:19:58")
        assert {"table_0": (), "table_1": (), "table_2": ()} == scene.requested()


def feed_and_reader(*, outside: bool = False, minutes: float = 30) -> tuple[Any, Any]:
    feed = dg.AssetSpec("feed", metadata={"freshline/outside": True} if outside else {})
    return feed, made("mart", "feed", minutes=minutes)


class TestWhatIsMadeOutside:
    @pytest.mark.parametrize("outside", [False, True])
    def test_the_stated_data_time_of_the_newest_report_counts_first(
        self, scene: Scene, outside: bool
    ) -> None:
        feed, mart = feed_and_reader(outside=outside)
        scene.publish("marts", feed, mart)
        both = {"dagster/last_updated_timestamp": dg.MetadataValue.timestamp(clock("09 20:00"))}
        scene.report("feed", metadata={**stated("09 19:00"), **both})
        scene.run(mart)

        assert clock("09 19:00") == scene.data_time("mart")

    @pytest.mark.parametrize("kind", ["report", "observe"])
    def test_dagsters_own_time_of_the_last_update_counts_next(
        self, scene: Scene, kind: str
    ) -> None:
        feed, mart = feed_and_reader()
        scene.publish("marts", feed, mart)
        updated = {"dagster/last_updated_timestamp": dg.MetadataValue.timestamp(clock("09 20:00"))}
        getattr(scene, kind)("feed", metadata=updated)
        scene.run(mart)

        assert clock("09 20:00") == scene.data_time("mart")

    def test_an_observation_of_a_new_data_version_is_as_of_when_it_was_first_seen(
        self, scene: Scene
    ) -> None:
        feed, mart = feed_and_reader()
        scene.publish("marts", feed, mart)
        scene.observe("feed", "1")
        scene.run(mart)

        assert clock("10 00:10") == scene.data_time("mart")

    def test_a_reported_materialization_is_as_of_its_time(self, scene: Scene) -> None:
        feed, mart = feed_and_reader()
        scene.publish("marts", feed, mart)
        scene.report("feed")
        scene.at("10 00:15").run(mart)

        assert clock("10 00:10") == scene.data_time("mart")

    def test_the_newest_of_reports_and_observations_counts(self, scene: Scene) -> None:
        feed, mart = feed_and_reader()
        scene.publish("marts", feed, mart)
        scene.report("feed")
        scene.at("10 00:20").observe("feed", "1")
        scene.run(mart)

        assert clock("10 00:20") == scene.data_time("mart")

    def test_nothing_reported_ever_is_unknown_and_says_what_to_report(self, scene: Scene) -> None:
        feed, mart = feed_and_reader()
        scene.publish("marts", feed, mart)
        target = scene.target("mart")

        assert {} == scene.requested()
        assert target.lag is None
        assert target.blame is not None
        assert "feed" == target.blame.asset
        assert "report_runless_asset_event" in target.reason

    def test_a_feed_that_is_outside_and_reports_data_a_day_old_is_a_day_old(
        self, scene: Scene
    ) -> None:
        feed, mart = feed_and_reader(outside=True)
        scene.publish("marts", feed, mart)
        scene.report("feed", metadata=stated("09 00:10"))
        scene.run(mart)
        target = scene.target("mart")

        assert (24 * HOUR, "feed") == (target.lag, target.blame and target.blame.asset)
        assert target.status is not TargetStatus.FRESH

    def test_a_feed_that_is_outside_and_never_reported_is_read_live(self, scene: Scene) -> None:
        feed, mart = feed_and_reader(outside=True)
        scene.publish("marts", feed, mart)
        scene.run(mart)

        assert clock("10 00:10") == scene.data_time("mart")
        assert scene.target("mart").status is TargetStatus.FRESH

    def test_a_policy_on_an_external_asset_is_watched_and_blamed_and_never_requested(
        self, scene: Scene
    ) -> None:
        feed = dg.AssetSpec("feed", metadata=max_lag(minutes=30))
        scene.publish("marts", feed)
        scene.report("feed")
        fresh = scene.target("feed")
        late = scene.at("10 01:00").target("feed")

        assert fresh.status is TargetStatus.FRESH
        assert 50 * 60 == late.lag
        assert late.status in (TargetStatus.LATE, TargetStatus.BLOCKED)
        assert late.blame is not None
        assert ("feed", Phase.UNSCHEDULED) == (late.blame.asset, late.blame.phase)
        assert "marts" == late.location
        assert {} == scene.requested()


def files(version: list[str]) -> dg.AssetsDefinition:
    """Return a source that its location can observe; `version` is what it finds."""

    @dg.observable_source_asset(name="files")
    def observed() -> dg.DataVersion:
        return dg.DataVersion(version[0])

    return observed


def look_at(scene: Scene, source: Any) -> None:
    """Run an observation."""
    job = dg.Definitions(assets=[source]).resolve_implicit_global_asset_job_def()
    with scene.stopped():
        job.execute_in_process(instance=scene.instance)


@pytest.mark.filterwarnings("ignore:Property `OpDefinition.version`")  # by Dagster itself
@pytest.mark.filterwarnings("ignore:Function `observable_source_asset`")
class TestObservableSources:
    def test_a_source_is_observed_just_in_time(self, scene: Scene) -> None:
        version = ["1"]
        source, mart = files(version), made("mart", "files", minutes=30)
        scene.publish("shop", source)
        scene.publish("marts", mart)
        assert {"files": ()} == scene.requested()
        look_at(scene, source)
        assert {"mart": ()} == scene.requested()
        scene.run(mart)

        assert {} == scene.at("10 00:20").requested()
        assert {"files": ()} == scene.at("10 00:39:58").requested()

    def test_nothing_below_needs_a_run_when_it_says_that_nothing_is_new(self, scene: Scene) -> None:
        version = ["1"]
        source, mart = files(version), made("mart", "files", minutes=30)
        scene.publish("shop", source)
        scene.publish("marts", mart)
        look_at(scene, source)
        scene.run(mart)
        scene.at("10 00:39")
        look_at(scene, source)

        assert clock("10 00:39") == scene.data_time("mart")
        assert {} == scene.requested()
        version[0] = "2"
        scene.at("10 01:05")
        look_at(scene, source)
        assert clock("10 00:39") == scene.data_time("mart")
        assert {"mart": ()} == scene.requested()

    def test_a_source_that_is_unchanged_all_night_costs_no_run_and_keeps_every_policy(
        self, scene: Scene
    ) -> None:
        source = files(["1"])
        core, mart = made("core", "files"), made("mart", "core", minutes=30)
        scene.publish("shop", source)
        scene.publish("marts", core, mart)
        look_at(scene, source)
        scene.run(core)
        scene.run(mart)

        for _ in range(32):
            scene.after(minutes=15)
            if "files" in scene.requested():
                look_at(scene, source)
            assert {} == scene.requested()
            assert scene.target("mart").status is TargetStatus.FRESH
        for key in ("core", "mart"):
            found = scene.instance.fetch_materializations(dg.AssetKey(key), limit=9)
            assert 1 == len(found.records)


def versioned(key: str, version: list[str | None], *deps: str, minutes: float = 0) -> Any:
    """Return an asset that says its data version, if it has one."""

    @dg.asset(name=key, deps=list(deps), metadata=max_lag(minutes=minutes) if minutes else {})
    def asset() -> dg.MaterializeResult:
        number = version[0]
        return dg.MaterializeResult(data_version=dg.DataVersion(number) if number else None)

    return asset


class TestUnchangedData:
    def test_what_consumed_the_predecessor_moves_on_without_a_run(self, scene: Scene) -> None:
        root, mart = versioned("root", ["1"]), made("mart", "root", minutes=30)
        scene.publish("shop", root)
        scene.publish("marts", mart)
        scene.run(root)
        scene.run(mart)
        scene.at("10 00:35").run(root)

        assert clock("10 00:35") == scene.data_time("mart")
        assert {} == scene.requested()
        assert scene.at("10 00:50").target("mart").status is TargetStatus.FRESH

    def test_what_is_further_down_moves_on_too(self, scene: Scene) -> None:
        root, core = versioned("root", ["1"]), made("core", "root")
        mart = made("mart", "core", minutes=30)
        scene.publish("shop", root, core, mart)
        for asset in (root, core, mart):
            scene.run(asset)
        scene.at("10 00:35").run(root)

        assert clock("10 00:35") == scene.data_time("mart")
        assert {} == scene.requested()

    def test_an_asset_whose_inputs_are_only_partly_unchanged_is_made(self, scene: Scene) -> None:
        one, other = versioned("one", ["1"]), made("other")
        mart = made("mart", "one", "other", minutes=30)
        scene.publish("shop", one, other, mart)
        scene.run(one, other)
        scene.run(mart)
        scene.at("10 00:39").run(one, other)

        assert clock("10 00:10") == scene.data_time("mart")
        assert {"mart": ()} == scene.requested()

    def test_another_data_version_is_new_data(self, scene: Scene) -> None:
        version: list[str | None] = ["1"]
        root, mart = versioned("root", version), made("mart", "root", minutes=30)
        scene.publish("shop", root, mart)
        scene.run(root)
        scene.run(mart)
        version[0] = "2"
        scene.at("10 00:35").run(root)

        assert clock("10 00:10") == scene.data_time("mart")
        assert {"mart": ()} == scene.requested()

    def test_data_versions_that_dagster_gives_by_default_mean_nothing(self, scene: Scene) -> None:
        root, mart = versioned("root", [None]), made("mart", "root", minutes=30)
        scene.publish("shop", root, mart)
        scene.run(root)
        scene.run(mart)
        scene.at("10 00:35").run(root)

        assert clock("10 00:10") == scene.data_time("mart")
        assert {"mart": ()} == scene.requested()

    def test_it_is_shown_since_when_nothing_has_changed(self, scene: Scene) -> None:
        root, mart = versioned("root", ["1"]), made("mart", "root", minutes=30)
        scene.publish("shop", root, mart)
        scene.run(root)
        scene.run(mart)
        scene.at("10 00:35").run(root)
        target = scene.target("mart")

        assert clock("10 00:10") == target.unchanged_since
        assert "nothing has changed upstream since 00:10" in target.reason

    def test_it_does_not_count_on_nothing_changing_before_that_has_happened(
        self, scene: Scene
    ) -> None:
        root, mart = versioned("root", ["1"]), made("mart", "root", minutes=30)
        scene.publish("shop", root)
        scene.publish("marts", mart)
        scene.run(root)
        scene.run(mart)
        early = scene.at("10 00:20").requested()

        # The root is due early enough that the mart could still be made after it.
        assert {} == early
        assert {"root": ()} == scene.at("10 00:39:58").requested()

    def test_an_observation_with_a_data_time_of_what_is_made_here_says_that_nothing_changed(
        self, scene: Scene
    ) -> None:
        root, mart = made("root"), made("mart", "root", minutes=30)
        scene.publish("shop", root, mart)
        scene.run(root)
        scene.run(mart)
        scene.at("10 00:35").observe("root", metadata=stated("10 00:34"))

        assert clock("10 00:34") == scene.data_time("root")
        assert clock("10 00:34") == scene.data_time("mart")
        assert {} == scene.requested()


class TestNothingNew:
    def drop(self, states: Scene | None = None) -> tuple[Any, list[bool]]:
        """Return a root that yields nothing if nothing is new, or `states` until when."""
        new = [True]

        @dg.asset(name="drop", output_required=False)
        def drop() -> Any:
            if new[0]:
                yield dg.Output(None)
            elif states is not None:
                until = data_time_metadata(datetime.fromtimestamp(states.now, UTC))
                yield dg.AssetObservation("drop", metadata=until)

        return drop, new

    def test_a_step_that_yields_nothing_is_an_answer_and_no_failed_attempt(
        self, scene: Scene
    ) -> None:
        drop, new = self.drop()
        mart = made("mart", "drop", minutes=30)
        scene.publish("shop", drop)
        scene.publish("marts", mart)
        scene.run(drop)
        scene.run(mart)
        new[0] = False
        scene.at("10 00:39").run(drop)
        plan = scene.plan()

        assert "nothing new at 00:39" in plan.assets["drop"].reason
        assert "failed" not in plan.assets["drop"].reason
        assert plan.targets["mart"].blame is None
        assert not plan.assets["drop"].request

    def test_it_is_asked_again_when_it_is_due_and_not_with_growing_pauses(
        self, scene: Scene
    ) -> None:
        drop, new = self.drop()
        mart = made("mart", "drop", minutes=30)
        scene.publish("shop", drop)
        scene.publish("marts", mart)
        scene.run(drop)
        scene.run(mart)
        new[0] = False
        asked = []
        for _ in range(150):
            scene.after(minutes=1)
            if "drop" in scene.requested():
                asked.append(round((scene.now - clock("10 00:10")) / 60))
                scene.run(drop)

        gaps = [later - one for one, later in pairwise(asked[1:])]
        assert len(asked) in (4, 5)
        assert max(gaps) - min(gaps) <= 1

    def test_a_skipped_step_is_an_answer_too(self, scene: Scene) -> None:
        drop, new = self.drop()

        @dg.asset(name="mart", metadata=max_lag(minutes=30))
        def mart(drop: Any) -> None: ...

        scene.publish("shop", drop, mart)
        scene.run(drop, mart)
        new[0] = False
        scene.at("10 00:39").run(drop, mart)
        plan = scene.plan()

        assert all("failed" not in plan.assets[key].reason for key in ("drop", "mart"))
        assert TargetStatus.FRESH is plan.targets["mart"].status

    def test_the_data_time_moves_when_the_step_says_up_to_when_nothing_was_new(
        self, scene: Scene
    ) -> None:
        drop, new = self.drop(scene)
        mart = made("mart", "drop", minutes=30)
        scene.publish("shop", drop)
        scene.publish("marts", mart)
        scene.run(drop)
        scene.run(mart)
        new[0] = False
        scene.at("10 00:39").run(drop)

        assert clock("10 00:39") == scene.data_time("mart")
        assert TargetStatus.FRESH is scene.at("10 01:00").target("mart").status

    def test_the_data_time_stands_when_the_step_says_nothing(self, scene: Scene) -> None:
        drop, new = self.drop()
        mart = made("mart", "drop", minutes=30)
        scene.publish("shop", drop)
        scene.publish("marts", mart)
        scene.run(drop)
        scene.run(mart)
        new[0] = False
        scene.at("10 00:39").run(drop)

        assert clock("10 00:10") == scene.data_time("mart")
        assert TargetStatus.LATE is scene.at("10 00:41").target("mart").status


class Chain(NamedTuple):
    """Orders, what is made from them, and a report with a policy; all but the report daily."""

    orders: dg.PartitionsDefinition
    mart: dg.PartitionsDefinition
    mapping: dg.PartitionMapping
    hours: float
    """The maximum lag of the report: as long as the windows take, and an hour or two."""
    days: tuple[str, ...] = ("2026-03-09", "2026-03-10")
    """What can be made of the mart in two days."""


SAME = dg.TimeWindowPartitionMapping()
BEFORE = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
LESS_ONE = dg.DailyPartitionsDefinition("2026-03-07", end_offset=-1)
HOURLY = dg.HourlyPartitionsDefinition("2026-03-09-00:00")
NEXT = dg.DailyPartitionsDefinition("2026-03-08")
AMSTERDAM = dg.DailyPartitionsDefinition("2026-03-07", timezone="Europe/Amsterdam")
CHAINS = {
    "the same days": Chain(DAILY, DAILY, SAME, 25),
    "a day less": Chain(LESS_ONE, LESS_ONE, SAME, 49, ("2026-03-08", "2026-03-09")),
    "the day before": Chain(DAILY, NEXT, BEFORE, 49),
    "days of hours": Chain(HOURLY, dg.DailyPartitionsDefinition("2026-03-09"), SAME, 25),
    "days elsewhere": Chain(AMSTERDAM, AMSTERDAM, SAME, 26),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_days_go_by_with_one_run_a_partition_after_it_has_closed_and_nothing_late(
    scene: Scene, chain: Chain
) -> None:
    orders = daily("orders", partitions=chain.orders)
    mart = daily("mart", reading("orders", chain.mapping), partitions=chain.mart)
    report = made("report", "mart", minutes=chain.hours * 60)
    scene.publish("shop", orders)
    scene.publish("marts", mart, report)
    assets = {"orders": orders, "mart": mart, "report": report}
    runs: list[tuple[str, str]] = []
    for _ in range(2 * 8):
        while requested := scene.requested():
            for key, parts in requested.items():
                for part in parts:
                    window = assets[key].partitions_def.time_window_for_partition_key(part)
                    assert window.end.timestamp() <= scene.now
                    scene.run(assets[key], partition_key=part)
                if not parts:
                    scene.run(assets[key])
                runs.extend((key, part) for part in parts or ("",))
        assert scene.target("report").status is TargetStatus.FRESH
        scene.after(minutes=3 * 60)

    of_partitions = [run for run in runs if run[1]]
    assert len(of_partitions) == len(set(of_partitions))
    assert {("mart", day) for day in chain.days} <= set(runs)
    assert runs.count(("report", "")) <= 3
