"""Which runs a location requests for a plan, and that Dagster takes and runs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from event_logs import plain
from freshline.model import (
    Asset,
    AssetPlan,
    AssetState,
    Graph,
    Part,
    PartitionKeys,
    Plan,
    Snapshot,
    TargetPlan,
    TargetStatus,
)
from freshline.planner import Ahead, lineage_of, requested_groups
from freshline.planner.facts import facts_of
from freshline.sensor import build_freshness_sensor
from freshline.sensor.lag_check import check_result
from freshline.sensor.message import tick_message
from freshline.sensor.outlook import Outlook
from freshline.sensor.requests import Requester, run_key
from freshline.windows import Windows
from run_queue import enqueue, launch, queueing_instance
from ticking import tick_context

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
DAILY = Windows(cron="0 0 * * *", start=1_767_225_600.0)
FIRST, SECOND, THIRD = "2026-01-01", "2026-01-02", "2026-01-03"


class Here:
    """A location, the graph that its contract would give, and what Dagster says to its requests."""

    def __init__(self, instance: dg.DagsterInstance, *assets: Any, **options: Any) -> None:
        self.instance = instance
        self.definitions = dg.Definitions(assets=list(assets), **options)
        self.repository = self.definitions.get_repository_def()
        self.requester = Requester(self.repository)
        self.snapshot = Snapshot({})
        self.graph = Graph({})

    def requests(self, *assets: Asset, **parts: tuple[str, ...]) -> list[dg.RunRequest]:
        """Return the requests for a plan in which `parts` of `assets` are due."""
        return self.requests_for(assets, {key: due(key, *names) for key, names in parts.items()})

    def requests_for(
        self, assets: Iterable[Asset], plans: dict[str, AssetPlan]
    ) -> list[dg.RunRequest]:
        """Return the requests for the plan, as Dagster takes them from the location's sensor."""
        plan = Plan("plan", 0.0, plans, {})
        graph = Graph({asset.key: asset for asset in assets})
        made = self.requester.requests(
            requested_groups(plan, graph, "here"), plan, graph, self.snapshot, self.instance, {}
        )
        sensor = build_freshness_sensor(location="here")
        with tick_context(self.instance, repository_def=self.repository) as context:
            return list(
                sensor.resolve_run_requests(list(made), context, sensor.asset_selection, [])
            )

    def run(self, request: dg.RunRequest) -> list[tuple[str, str | None]]:
        """Run a request; return the assets and partitions that it made or observed."""
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(request.asset_selection or ()),
            asset_check_selection=set(request.asset_check_keys or ()),
        )
        result = job.execute_in_process(instance=self.instance, tags=request.tags)
        made = [
            (str(event.asset_key and event.asset_key.to_user_string()), event.partition)
            for event in result.all_events
            if event.is_step_materialization or event.is_asset_observation
        ]
        return sorted(made, key=str)


def due(key: str, *parts: str, **options: Any) -> AssetPlan:
    return AssetPlan(key, True, 0.0, "target", None, None, "it is due", parts=parts, **options)


def daily(key: str, *deps: str, partitions: Any = DAYS, **options: Any) -> dg.AssetsDefinition:
    @dg.asset(name=key, deps=list(deps), partitions_def=partitions, **options)
    def made() -> None: ...

    return made


def of_days(key: str, **options: Any) -> Asset:
    return Asset(key, "here", windows=DAILY, **options)


def selected(requests: Iterable[dg.RunRequest]) -> list[tuple[list[str], str | None]]:
    """Return the assets and the partition of each request."""
    return [
        (
            [key.to_user_string() for key in request.asset_selection or ()],
            request.tags.get("dagster/partition"),
        )
        for request in requests
    ]


@pytest.fixture
def here(memory: dg.DagsterInstance) -> Here:
    return Here(memory, daily("sales"), daily("returns"), plain("report", "sales"))


class TestPartitions:
    def test_each_partition_has_a_run_of_its_own(self, here: Here) -> None:
        requests = here.requests(of_days("sales"), sales=(FIRST, SECOND))

        assert [(["sales"], FIRST), (["sales"], SECOND)] == selected(requests)
        assert [[("sales", FIRST)], [("sales", SECOND)]] == [here.run(it) for it in requests]

    def test_the_same_partition_of_several_assets_is_made_in_one_run(self, here: Here) -> None:
        requests = here.requests(
            of_days("sales"), of_days("returns"), sales=(FIRST, SECOND), returns=(SECOND,)
        )

        assert [(["sales"], FIRST), (["returns", "sales"], SECOND)] == selected(requests)
        assert [("returns", SECOND), ("sales", SECOND)] == here.run(requests[1])

    def test_assets_that_read_other_days_have_the_same_partitions(self, here: Here) -> None:
        day_later = Asset("returns", "here", windows=replace(DAILY, shift=-1))
        requests = here.requests(of_days("sales"), day_later, sales=(FIRST,), returns=(FIRST,))

        assert [(["returns", "sales"], FIRST)] == selected(requests)

    def test_assets_that_the_plan_keeps_apart_are_made_in_two_runs(self, here: Here) -> None:
        plans = {"sales": due("sales", FIRST), "returns": due("returns", FIRST, run="returns")}
        requests = here.requests_for([of_days("sales"), of_days("returns")], plans)

        assert [(["sales"], FIRST), (["returns"], FIRST)] == selected(requests)

    def test_an_asset_without_partitions_is_never_made_with_a_partition(self, here: Here) -> None:
        requests = here.requests(
            of_days("sales"), Asset("report", "here", ("sales",)), sales=(FIRST,), report=()
        )

        assert [(["sales"], FIRST), (["report"], None)] == selected(requests)

    def test_assets_with_other_partitions_are_made_in_two_runs(
        self, memory: dg.DagsterInstance
    ) -> None:
        weekly = dg.WeeklyPartitionsDefinition("2026-01-01")
        here = Here(memory, daily("sales"), daily("weeks", partitions=weekly))
        weeks = Asset("weeks", "here", windows=Windows(cron="0 0 * * 0", start=DAILY.start))
        requests = here.requests(
            of_days("sales"), weeks, sales=("2026-01-04",), weeks=("2026-01-04",)
        )

        assert [(["sales"], "2026-01-04"), (["weeks"], "2026-01-04")] == selected(requests)

    @pytest.mark.filterwarnings("ignore:Non-compliant tag keys")  # Dagster's own tags
    def test_partitions_that_only_dagster_tells_apart_are_made_in_two_runs(
        self, memory: dg.DagsterInstance
    ) -> None:
        countries = dg.StaticPartitionsDefinition(["de", "nl"])

        def named(day: str) -> dg.MultiPartitionsDefinition:
            return dg.MultiPartitionsDefinition({day: DAYS, "country": countries})

        here = Here(
            memory, daily("a", partitions=named("day")), daily("b", partitions=named("date"))
        )
        keys = PartitionKeys(("de", "nl"), first=True)
        both = [Asset(key, "here", windows=DAILY, keys=keys) for key in ("a", "b")]
        plans = {key: due(key, f"de|{FIRST}") for key in ("a", "b")}
        requests = here.requests_for(both, plans)

        assert [["a"], ["b"]] == [names for names, _ in selected(requests)]
        assert {} == here.requester.refused

    @pytest.mark.filterwarnings("ignore:.*backfill_?policy.*in beta")
    def test_a_range_is_made_in_one_run(self, memory: dg.DagsterInstance) -> None:
        single = {"backfill_policy": dg.BackfillPolicy.single_run()}
        here = Here(memory, daily("sales", **single))
        plans = {"sales": due("sales", FIRST, SECOND, THIRD, together=True)}
        (request,) = here.requests_for([of_days("sales", single_run=True)], plans)

        assert (FIRST, THIRD) == (
            request.tags["dagster/asset_partition_range_start"],
            request.tags["dagster/asset_partition_range_end"],
        )
        assert [("sales", FIRST), ("sales", SECOND), ("sales", THIRD)] == here.run(request)

    def test_the_checks_of_an_asset_run_with_its_partition(
        self, memory: dg.DagsterInstance
    ) -> None:
        @dg.asset_check(asset="sales")
        def has_rows() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        here = Here(memory, daily("sales"), asset_checks=[has_rows])
        (request,) = here.requests(of_days("sales"), sales=(FIRST,))
        here.run(request)
        key = dg.AssetCheckKey(dg.AssetKey("sales"), "has_rows")
        storage: Any = memory.event_log_storage
        record = storage.get_latest_asset_check_execution_by_key([key])[key]

        assert record.evaluation.passed

    def test_a_partition_that_dagster_does_not_know_stops_no_other(self, tmp_path: Path) -> None:
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            self._add_partitions(instance)

    def _add_partitions(self, instance: dg.DagsterInstance) -> None:
        customers = dg.DynamicPartitionsDefinition(name="customers")
        here = Here(instance, daily("orders", partitions=customers))
        orders = Asset("orders", "here", keys=PartitionKeys(dynamic="customers"))
        instance.add_dynamic_partitions("customers", ["ann"])
        requests = here.requests(orders, orders=("ann", "bob"))

        assert [(["orders"], "ann")] == selected(requests)
        assert {
            "partition bob of orders": "Dagster does not know it"
        } == here.requester.refused_parts
        instance.add_dynamic_partitions("customers", ["bob"])
        assert [(["orders"], "bob")] == selected(here.requests(orders, orders=("bob",)))
        assert {} == here.requester.refused_parts


class TestObservations:
    @pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
    @pytest.mark.filterwarnings("ignore:Property `OpDefinition.version`")  # by Dagster itself
    def test_a_source_is_observed_in_a_run_without_assets(self, memory: dg.DagsterInstance) -> None:
        @dg.observable_source_asset
        def feed() -> dg.DataVersion:
            return dg.DataVersion("1")

        @dg.asset_check(asset="feed")
        def has_rows() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        here = Here(memory, feed, plain("root"), asset_checks=[has_rows])
        requests = here.requests(
            Asset("feed", "here", observed=True), Asset("root", "here"), feed=(), root=()
        )

        assert [(["feed"], None), (["root"], None)] == selected(requests)
        assert [[("feed", None)], [("root", None)]] == [here.run(it) for it in requests]
        assert [[], []] == [it.asset_check_keys for it in requests]


class TestPriorities:
    @pytest.mark.parametrize(
        ("slacks", "priority"),
        [
            ([12.4], "-12"),
            ([-3.6], "4"),
            ([None], "0"),
            ([90.0, -2.0, 7.0], "2"),
            ([5.0, None], "0"),
        ],
        ids=["can wait", "late", "never made", "the most urgent counts", "never made counts too"],
    )
    def test_a_request_has_the_priority_of_its_slack(
        self, memory: dg.DagsterInstance, slacks: list[float | None], priority: str
    ) -> None:
        names = [f"a{number}" for number in range(len(slacks))]
        here = Here(memory, *map(plain, names))
        plans = {
            name: replace(due(name), slack=slack) for name, slack in zip(names, slacks, strict=True)
        }
        (request,) = here.requests_for([Asset(name, "here") for name in names], plans)

        assert priority == request.tags["dagster/priority"]

    def test_dagster_launches_the_most_urgent_run_first(
        self, memory: dg.DagsterInstance, tmp_path: Path
    ) -> None:
        slacks = {"patient": 40.0, "urgent": -7.0, "new": None}
        here = Here(memory, *map(plain, slacks))
        plans = {key: replace(due(key), slack=slack, run=key) for key, slack in slacks.items()}
        requests = here.requests_for([Asset(key, "here") for key in slacks], plans)
        tags = {names[0]: request.tags for request in requests for names, _ in selected([request])}
        with queueing_instance(tmp_path, runs={"max_concurrent_runs": 1}) as instance:
            runs = {
                enqueue(instance, plain(key), tags=tags[key]).run_id: key
                for key in ("patient", "new", "urgent")
            }
            order: list[str] = []
            while len(order) < len(runs):
                (launched,) = launch(instance)
                order.append(runs[launched.run_id])
                instance.report_run_canceled(launched)

        assert ["urgent", "new", "patient"] == order


class TestRunKeys:
    KNOWN = Part(FIRST, version=7, last_run_id="run", failures=1)

    @pytest.mark.parametrize(
        "change",
        [{"version": 8}, {"last_run_id": "another"}, {"failures": 2}],
        ids=["version", "run", "failure"],
    )
    def test_the_state_of_a_partition_changes_its_key_alone(self, change: dict[str, Any]) -> None:
        before, after = self.snapshot(self.KNOWN), self.snapshot(replace(self.KNOWN, **change))

        assert run_key(["sales"], before, (FIRST,)) != run_key(["sales"], after, (FIRST,))
        assert run_key(["sales"], before, (SECOND,)) == run_key(["sales"], after, (SECOND,))

    def test_each_partition_and_each_range_has_its_own_key(self) -> None:
        snapshot = self.snapshot(self.KNOWN)
        every = [(), (FIRST,), (SECOND,), (FIRST, SECOND)]

        assert 4 == len({run_key(["sales"], snapshot, parts) for parts in every})

    def snapshot(self, part: Part) -> Snapshot:
        return Snapshot({"sales": AssetState(parts=(part, Part(SECOND)))})


class TestWords:
    def test_a_location_that_observes_names_the_partitions_that_it_would_request(self) -> None:
        plans = {"sales": due("sales", FIRST, SECOND, THIRD), "returns": due("returns", FIRST)}
        plan = Plan("plan", 0.0, plans, {})
        assets = {key: of_days(key) for key in plans}
        graph = Graph(assets, observers=frozenset(["here"]))
        nothing, lineage = Snapshot({}), lineage_of(graph)
        ahead = Ahead(lineage, nothing, plan, facts_of(lineage, nothing, 0.0))
        outlook = Outlook(ahead, {}, {}, (), {}, "digest", {})
        said = tick_message(outlook, "here", requested_groups(plan, graph, "here"), {})

        assert [
            "observes only; it would request:",
            f"sales {FIRST} (and 2 more): it is due",
            f"returns {FIRST}: it is due",
        ] == said.splitlines()

    FRESH = TargetPlan("report", "here", TargetStatus.FRESH, 60.0, 300.0, None, None, None, "")

    def test_the_check_of_a_target_has_what_was_never_promised_and_what_has_not_changed(
        self,
    ) -> None:
        since, never = 1_800_000_000.0, {"sales": 3}
        target = replace(self.FRESH, unchanged_since=since, never_promised=never)
        facts = {name: value.value for name, value in check_result(target, since).metadata.items()}

        assert since == facts["freshline/unchanged_since"]
        assert never == facts["freshline/never_promised"]

    def test_the_check_of_another_target_has_neither(self) -> None:
        assert {
            "freshline/status",
            "freshline/lag_seconds",
            "freshline/maximum_lag_seconds",
        } == check_result(self.FRESH, 0.0).metadata.keys()
