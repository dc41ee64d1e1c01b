"""Contracts of what is not a plain table: partitions, views, observations, what others make."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from freshline.contract import Contract, graph_of
from freshline.contract.describe import document
from freshline.contract.document import Export, Partitions, PartitionsRead, TimeWindows
from freshline.policy import MaxLag, max_lag
from freshline.windows import Windows
from freshline.workspace.server import nodes_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is currently in beta"),
    # Dagster reads it itself, of an observable source.
    pytest.mark.filterwarnings("ignore:Property `OpDefinition.version` is deprecated"),
]

JANUARY = 1767225600.0
"""The first of January 2026, UTC."""
DAYS = dg.DailyPartitionsDefinition("2026-01-01")
HOURS = dg.HourlyPartitionsDefinition("2026-01-01-00:00")
REGIONS = dg.StaticPartitionsDefinition(["eu", "us"])
CUSTOMERS = dg.DynamicPartitionsDefinition(name="customers")
DAILY = TimeWindows(cron="0 0 * * *", start=JANUARY)


def multi(**dimensions: Any) -> dg.MultiPartitionsDefinition:
    return dg.MultiPartitionsDefinition(dimensions)


def contract_of(*assets: Any, location: str = "shop") -> Contract:
    return Contract.from_definitions(dg.Definitions(assets=assets), location)


def partitions_of(definition: Any, **fields: Any) -> Partitions | None:
    one = dg.asset(name="one", partitions_def=definition, **fields)(lambda: None)
    return contract_of(one).by_key["one"].partitions


def read_of(reader: Any, mapping: Any = None, made: Any = None) -> PartitionsRead | None:
    """Return what an asset with the partitions `reader` reads of ``made``.

    `made` are the partitions of that; None: another location makes it.
    """
    one = dg.asset(
        name="reader",
        partitions_def=reader,
        deps=[dg.AssetDep("made", partition_mapping=mapping)],
    )(lambda: None)
    others = [dg.asset(name="made", partitions_def=made)(lambda: None)] if made else []
    return contract_of(one, *others).by_key["reader"].reads.get("made")


class OwnMapping(dg.IdentityPartitionMapping):
    """A mapping that a location has written itself."""


class TestPartitions:
    def test_of_an_asset_without_any_are_none(self) -> None:
        assert None is partitions_of(None)

    @pytest.mark.parametrize(
        ("definition", "windows"),
        [
            (DAYS, DAILY),
            (HOURS, TimeWindows(cron="0 * * * *", start=JANUARY, fmt="%Y-%m-%d-%H:%M")),
            (
                dg.WeeklyPartitionsDefinition("2026-01-01", day_offset=1, hour_offset=6),
                TimeWindows(cron="0 6 * * 1", start=JANUARY),
            ),
            (
                dg.MonthlyPartitionsDefinition(
                    "2026-01-01", end_date="2026-07-01", timezone="Europe/Amsterdam", end_offset=1
                ),
                TimeWindows(
                    cron="0 0 1 * *",
                    timezone="Europe/Amsterdam",
                    start=JANUARY - 3600,
                    end=1782856800.0,
                    end_offset=1,
                ),
            ),
            (
                dg.TimeWindowPartitionsDefinition(
                    start="2026", fmt="%Y", cron_schedule="0 0 1 1 *", end_offset=-1
                ),
                TimeWindows(cron="0 0 1 1 *", start=JANUARY, fmt="%Y", end_offset=-1),
            ),
        ],
    )
    def test_by_time_are_windows(self, definition: Any, windows: TimeWindows) -> None:
        found = partitions_of(definition)

        assert Partitions(windows=windows) == found

    @pytest.mark.parametrize("definition", [DAYS, HOURS])
    def test_by_time_have_the_keys_that_dagster_gives_them(self, definition: Any) -> None:
        found = partitions_of(definition)

        assert found
        assert found.windows
        windows = Windows(**found.windows.model_dump())
        names = [windows.key(each) for each in windows.existing(JANUARY, JANUARY + 100 * 86_400)]
        assert definition.get_partition_keys()[: len(names)] == names

    def test_by_keys_are_these(self) -> None:
        assert Partitions(keys=("eu", "us")) == partitions_of(REGIONS)
        assert Partitions(dynamic="customers") == partitions_of(CUSTOMERS)

    @pytest.mark.parametrize(
        ("definition", "expected"),
        [
            (
                multi(date=DAYS, region=REGIONS),
                Partitions(windows=DAILY, keys=("eu", "us"), keys_first=False),
            ),
            (
                multi(date=DAYS, area=REGIONS),
                Partitions(windows=DAILY, keys=("eu", "us"), keys_first=True),
            ),
            (
                multi(date=DAYS, customer=CUSTOMERS),
                Partitions(windows=DAILY, dynamic="customers", keys_first=True),
            ),
        ],
    )
    def test_by_time_and_keys_say_which_comes_first(
        self, definition: Any, expected: Partitions
    ) -> None:
        assert expected == partitions_of(definition)

    def test_by_time_and_keys_are_named_as_dagster_does(self) -> None:
        definition = multi(date=DAYS, area=REGIONS)

        found = partitions_of(definition)

        assert found
        assert found.keys_first
        assert "eu|2026-01-01" in definition.get_partition_keys()

    def test_by_two_sets_of_keys_have_the_keys_of_both(self) -> None:
        definition = multi(z=REGIONS, a=dg.StaticPartitionsDefinition(["x", "y"]))

        found = partitions_of(definition)

        assert Partitions(keys=("x|eu", "x|us", "y|eu", "y|us")) == found
        assert found
        assert set(definition.get_partition_keys()) == set(found.keys)

    @pytest.mark.parametrize(
        ("definition", "why"),
        [
            (
                dg.TimeWindowPartitionsDefinition(
                    start="2026-01-01",
                    fmt="%Y-%m-%d",
                    cron_schedule="0 0 * * *",
                    exclusions=["0 0 * * 0"],
                ),
                "its time windows have exclusions",
            ),
            (multi(day=DAYS, hour=HOURS), "its partitions have two time dimensions"),
            (multi(customer=CUSTOMERS, region=REGIONS), "two dimensions without time"),
            (
                dg.StaticPartitionsDefinition([str(number) for number in range(10_001)]),
                "it has 10001 partition keys, and freshline follows 10000 at most",
            ),
            (dg.StaticPartitionsDefinition([]), "it has no partition keys"),
        ],
    )
    def test_that_cannot_be_followed_say_why(self, definition: Any, why: str) -> None:
        found = partitions_of(definition)

        assert found
        assert why in str(found.unsupported)
        assert Partitions(unsupported=found.unsupported) == found

    @pytest.mark.parametrize(
        ("policy", "single"),
        [
            (None, False),
            (dg.BackfillPolicy.single_run(), True),
            (dg.BackfillPolicy.multi_run(10), False),
        ],
    )
    def test_are_made_by_one_run_if_the_backfill_policy_says_so(
        self, policy: Any, single: bool
    ) -> None:
        found = partitions_of(DAYS, backfill_policy=policy)

        assert found
        assert single is found.single_run

    @pytest.mark.parametrize(
        ("written", "at"),
        [
            ("2026-01-02", JANUARY + 86_400),
            ("2026-01-02T00:00:00Z", JANUARY + 86_400),
            ("2026-01-02T01:00+01:00", JANUARY + 86_400),
            ("soon", None),
        ],
    )
    def test_are_complete_from_a_time_that_the_asset_says(
        self, written: str, at: float | None
    ) -> None:
        found = partitions_of(DAYS, metadata={"freshline/complete_from": written})

        assert found
        assert at == found.complete_from


BOTH = multi(date=DAYS, region=REGIONS)
WINDOW = PartitionsRead(windows=(0, 0))
KEY = PartitionsRead(same_key=True)
WINDOW_AND_KEY = PartitionsRead(windows=(0, 0), same_key=True)


class TestReads:
    @pytest.mark.parametrize(
        ("reader", "made", "expected"),
        [
            # The input may belong to another location: then its partitions are not known.
            (DAYS, None, WINDOW),
            (REGIONS, None, KEY),
            (BOTH, None, WINDOW_AND_KEY),
            (None, None, None),
            (DAYS, HOURS, WINDOW),
            (REGIONS, REGIONS, KEY),
            (CUSTOMERS, CUSTOMERS, KEY),
            (BOTH, BOTH, WINDOW_AND_KEY),
            (BOTH, DAYS, WINDOW),
            (BOTH, REGIONS, KEY),
            (DAYS, BOTH, WINDOW),
            (REGIONS, BOTH, KEY),
            (None, DAYS, None),
            (DAYS, REGIONS, None),
            (dg.StaticPartitionsDefinition(["eu", "asia"]), REGIONS, None),
            (dg.DynamicPartitionsDefinition(name="other"), CUSTOMERS, None),
        ],
    )
    def test_are_those_that_dagster_infers(
        self, reader: Any, made: Any, expected: PartitionsRead | None
    ) -> None:
        assert expected == read_of(reader, made=made)

    @pytest.mark.parametrize(
        ("mapping", "reader", "expected"),
        [
            (dg.TimeWindowPartitionMapping(), DAYS, WINDOW),
            (
                dg.TimeWindowPartitionMapping(start_offset=-6),
                DAYS,
                PartitionsRead(windows=(-6, 0)),
            ),
            (
                dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
                DAYS,
                PartitionsRead(windows=(-1, -1)),
            ),
            (dg.IdentityPartitionMapping(), DAYS, WINDOW),
            (dg.IdentityPartitionMapping(), REGIONS, KEY),
            (dg.IdentityPartitionMapping(), BOTH, WINDOW_AND_KEY),
            (dg.LastPartitionMapping(), DAYS, PartitionsRead(last=True)),
            (dg.LastPartitionMapping(), None, PartitionsRead(last=True)),
            (dg.AllPartitionMapping(), DAYS, None),
            (dg.SpecificPartitionsPartitionMapping(["2026-01-01"]), DAYS, None),
            (dg.StaticPartitionMapping({"eu": "eu", "us": "us"}), REGIONS, None),
        ],
    )
    def test_are_those_of_the_mapping(
        self, mapping: Any, reader: Any, expected: PartitionsRead | None
    ) -> None:
        assert expected == read_of(reader, mapping)

    @pytest.mark.parametrize("made", [None, multi(day=DAYS, area=REGIONS)])
    def test_of_two_dimensions_are_those_of_each(self, made: Any) -> None:
        def mapping(**mappings: Any) -> dg.MultiPartitionMapping:
            names = {"day": "date", "area": "region"}
            return dg.MultiPartitionMapping(
                {
                    dimension: dg.DimensionPartitionMapping(names[dimension], each)
                    for dimension, each in mappings.items()
                }
            )

        same = dg.IdentityPartitionMapping()
        before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
        every = dg.AllPartitionMapping()

        assert WINDOW_AND_KEY == read_of(BOTH, mapping(day=same, area=same), made)
        assert WINDOW == read_of(BOTH, mapping(day=same), made)
        assert PartitionsRead(windows=(-1, -1)) == read_of(
            BOTH, mapping(day=before, area=every), made
        )
        assert None is read_of(BOTH, mapping(day=every, area=every), made)

    def test_of_one_dimension_of_two_are_those_of_its_name(self) -> None:
        mapping = dg.MultiToSingleDimensionPartitionMapping

        assert WINDOW == read_of(BOTH, mapping("date"), DAYS)
        assert KEY == read_of(REGIONS, mapping("region"), BOTH)
        assert WINDOW == read_of(BOTH, mapping("date"))
        assert KEY == read_of(BOTH, mapping("region"))

    @pytest.mark.filterwarnings("ignore:Non-built-in PartitionMappings")
    @pytest.mark.parametrize(
        ("mapping", "why"),
        [
            (OwnMapping(), "OwnMapping is code of its own location, which others cannot call"),
            (
                dg.TimeWindowPartitionMapping(start_offset=0, end_offset=-1),
                "TimeWindowPartitionMapping(start_offset=0, end_offset=-1) ends before it begins",
            ),
        ],
    )
    def test_that_cannot_be_followed_say_why(self, mapping: Any, why: str) -> None:
        assert PartitionsRead(unsupported=why) == read_of(DAYS, mapping)
        # Without partitions of its own, the reader waits for all of the input.
        assert None is read_of(None, mapping, DAYS)

    def test_of_itself_are_left_out(self) -> None:
        before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
        total = dg.asset(
            name="total",
            partitions_def=DAYS,
            deps=[dg.AssetDep("total", partition_mapping=before)],
        )(lambda: None)

        assert {} == contract_of(total).by_key["total"].reads

    def test_of_an_input_without_partitions_are_left_out(self) -> None:
        plain = dg.asset(name="made")(lambda: None)
        reader = dg.asset(name="reader", partitions_def=DAYS, deps=["made"])(lambda: None)

        assert {} == contract_of(plain, reader).by_key["reader"].reads


def view(**fields: Any) -> Export:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster warns of what it may change again
        one = dg.asset(name="one", **fields)(lambda: None)
    return contract_of(one).by_key["one"]


def dbt_model(materialized: str, **metadata: Any) -> dict[str, Any]:
    """Return fields of an asset that dagster-dbt has made of a model, without dagster-dbt."""
    model = {
        "unique_id": "model.shop.m",
        "resource_type": "model",
        "path": "m.sql",
        "config": {"materialized": materialized},
    }
    manifest = {"nodes": {"model.shop.m": model}, "sources": {}, "metadata": {}}
    return {
        "metadata": {
            "dagster_dbt/unique_id": "model.shop.m",
            "dagster_dbt/manifest": SimpleNamespace(manifest=manifest),
            **metadata,
        }
    }


class TestViews:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, False),
            ({"is_virtual": True}, True),
            ({"metadata": {"freshline/view": True}}, True),
            ({"metadata": {"freshline/view": False}, "is_virtual": True}, False),
            ({"metadata": {"freshline/view": dg.MetadataValue.bool(True)}}, True),
        ],
    )
    def test_say_so_themselves(self, fields: Mapping[str, Any], expected: bool) -> None:
        assert expected is view(**fields).view

    @pytest.mark.parametrize(
        ("materialized", "said", "expected"),
        [
            ("view", {}, True),
            ("ephemeral", {}, True),
            ("table", {}, False),
            ("materialized_view", {}, False),
            ("view", {"freshline/view": False}, False),
            ("table", {"freshline/view": True}, True),
        ],
    )
    def test_are_what_dbt_makes_no_table_of(
        self, materialized: str, said: dict[str, Any], expected: bool
    ) -> None:
        assert expected is view(**dbt_model(materialized, **said)).view

    def test_of_dbt_with_partitions_are_none(self) -> None:
        assert not view(partitions_def=DAYS, **dbt_model("view")).view

    def test_have_a_code_version(self) -> None:
        said = {"freshline/view": True}

        assert "7" == view(code_version="7", metadata=said).code_version
        assert None is view(metadata=said).code_version
        assert None is view(code_version="7").code_version


def feed(*, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Any:
    @dg.observable_source_asset(name="feed", metadata=metadata, **fields)
    def feed() -> dg.DataVersion:
        return dg.DataVersion("1")

    return feed


def observed(name: str, *specs: dg.AssetSpec, **fields: Any) -> Any:
    """Return what observes all of `specs` in one step."""

    @dg.multi_observable_source_asset(specs=specs, name=name, **fields)
    def observe(context):  # type: ignore[no-untyped-def]  # Dagster reads its annotation
        yield dg.ObserveResult(asset_key=specs[0].key)

    return observe


def sides() -> Any:
    return observed("sides", dg.AssetSpec("left"), dg.AssetSpec("right"))


class TestObserved:
    def test_sources_are_exports(self) -> None:
        plain = dg.AssetSpec("plain")

        contract = contract_of(feed(), sides(), plain)

        assert {"feed": "", "left": "sides", "right": "sides"} == {
            export.key: export.unit for export in contract.exports if export.observed
        }
        assert ("plain",) == contract.declares

    def test_ones_that_dagster_refuses_to_observe_say_why(self) -> None:
        api = dg.ResourceDefinition(lambda _: None, config_schema={"token": str})
        needy = {"required_resource_keys": {"api"}, "resource_defs": {"api": api}}

        contract = contract_of(feed(**needy), observed("sides", dg.AssetSpec("left"), **needy))

        assert "Missing required config entry" in str(contract.by_key["feed"].unlaunchable)
        assert "Missing required config entry" in str(contract.by_key["left"].unlaunchable)

    def test_ones_with_partitions_are_not_followed(self) -> None:
        export = contract_of(feed(partitions_def=DAYS)).by_key["feed"]

        assert "it has partitions, and is observed as a whole" == export.unfollowed

    def test_ones_have_policies(self) -> None:
        contract = contract_of(feed(metadata=max_lag(30)))

        assert MaxLag(30) == contract.by_key["feed"].policy
        assert () == contract.watched

    @pytest.mark.parametrize("maker", ["a maker", "z maker"])
    def test_ones_belong_to_who_makes_them(self, maker: str) -> None:
        made = dg.asset(name="feed")(lambda: None)

        graph = graph_of([contract_of(feed()), contract_of(made, location=maker)])

        assert (maker, False) == (graph.assets["feed"].location, graph.assets["feed"].observed)

    def test_ones_belong_to_who_observes_them_otherwise(self) -> None:
        reader = contract_of(dg.AssetSpec("feed"), location="a reader")

        graph = graph_of([reader, contract_of(feed())])

        assert ("shop", True) == (graph.assets["feed"].location, graph.assets["feed"].observed)


class TestWatched:
    def test_one_that_cannot_be_read_is_not_kept(self) -> None:
        contract = contract_of(dg.AssetSpec("feed", metadata={"freshline/max_lag": 5}))

        assert () == contract.watched
        assert ["wrong"] == [unkept.reason for unkept in contract.unkept]

    def test_one_without_freshline_is_not_kept(self) -> None:
        external = dg.Definitions(assets=[dg.AssetSpec("feed", metadata=max_lag(5))])
        nodes = document_of(external)

        contract = Contract.from_description(nodes)

        assert () == contract.watched
        assert [("external", MaxLag(5))] == [(it.reason, it.policy) for it in contract.unkept]


def document_of(definitions: dg.Definitions) -> dict[str, Any]:
    """Return the description of a location without freshline."""
    from freshline.contract.describe import describe

    return describe([definitions.get_repository_def()], "shop")


def test_a_partitioned_asset_with_config_is_judged_like_any_other() -> None:
    def needy(name: str, **given: str) -> Any:
        metadata = {"freshline/config": given} if given else {}
        return dg.asset(
            name=name, partitions_def=DAYS, config_schema={"since": str}, metadata=metadata
        )(lambda: None)

    contract = contract_of(
        needy("bare"), needy("full", since="2026"), needy("wrong", untill="2026")
    )

    assert "Missing required config entry" in str(contract.by_key["bare"].unlaunchable)
    assert None is contract.by_key["full"].unlaunchable
    assert '"untill"' in str(contract.by_key["wrong"].unlaunchable)


def test_a_code_server_says_the_same() -> None:
    from dagster._core.remote_representation.external_data import RepositorySnap

    before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
    day = dg.asset(
        name="day",
        partitions_def=BOTH,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata={"freshline/complete_from": "2026-02-01"},
    )(lambda: None)
    last = dg.asset(
        name="last",
        partitions_def=DAYS,
        deps=[dg.AssetDep("day", partition_mapping=before), "far"],
        metadata={"freshline/view": False},
    )(lambda: None)
    shown = dg.asset(name="shown", metadata={"freshline/view": True}, code_version="3")(
        lambda: None
    )
    definitions = dg.Definitions(assets=[day, last, shown, feed(), sides(), dg.AssetSpec("plain")])
    repository = definitions.get_repository_def()
    told = Contract.from_description(
        document(nodes_of(RepositorySnap.from_def(repository).asset_nodes), "shop", "")
    )

    known = Contract.from_description(document_of(definitions))

    assert known.by_key.keys() == told.by_key.keys()
    for key, export in known.by_key.items():
        for name in ("partitioned", "partitions", "reads", "view", "observed", "code_version"):
            assert (key, name, getattr(export, name)) == (
                key,
                name,
                getattr(told.by_key[key], name),
            )
    assert known.declares == told.declares


class TestProblems:
    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"timezone": "Europe/Nowhere"}, "cannot be followed here: 'No time zone found"),
            ({"cron": "once in a while"}, "cannot be followed here: Found invalid cron"),
            ({"cron": "0 * * * *"}, "several of its time windows have the same partition key"),
        ],
    )
    def test_windows_that_cannot_be_followed_here_are_those_of_one_asset_only(
        self, changes: dict[str, Any], problem: str
    ) -> None:
        @dg.asset(partitions_def=DAYS, metadata=max_lag(2_000))
        def orders() -> None: ...

        contract = contract_of(orders)
        (export,) = contract.exports
        assert export.partitions
        assert export.partitions.windows
        windows = export.partitions.windows.model_copy(update=changes)
        partitions = export.partitions.model_copy(update={"windows": windows})
        other = export.model_copy(update={"partitions": partitions})
        graph = graph_of(
            [contract.model_copy(update={"exports": (other,), "promised": {"orders": JANUARY}})]
        )

        assert problem in graph.assets["orders"].never_requested
        assert not graph.assets["orders"].partitioned


class TestCompatibility:
    def test_an_older_contract_does_not_say_which_partitions_there_are(self) -> None:
        old = {
            "location": "shop",
            "published_as": "shop",
            "exports": [{"key": "day", "partitioned": True}],
        }

        graph = graph_of([Contract.from_document(old)])

        assert (
            "it is partitioned, and the freshline of its location is too old to say how"
            == graph.assets["day"].never_requested
        )
        assert not graph.assets["day"].partitioned

    def test_an_older_freshline_still_reads_that_an_asset_is_partitioned(self) -> None:
        day = dg.asset(name="day", partitions_def=DAYS)(lambda: None)

        (export,) = contract_of(day).to_document()["exports"]

        assert export["partitioned"]

    def test_a_newer_contract_may_say_more_of_partitions(self) -> None:
        new = {
            "location": "shop",
            "exports": [
                {
                    "key": "day",
                    "partitioned": True,
                    "partitions": {
                        "windows": {"cron": "0 0 * * *", "start": JANUARY, "holidays": ["x"]},
                        "colour": "blue",
                    },
                    "reads": {"other": {"windows": [0, 0], "at": "noon"}},
                }
            ],
            "watched": [{"key": "feed", "policy": {"minutes": 5}, "by": "ann"}],
        }

        contract = Contract.from_document(new)

        day = contract.by_key["day"]
        assert (Partitions(windows=DAILY), {"other": WINDOW}) == (day.partitions, day.reads)
        assert [("feed", MaxLag(5))] == [(it.key, it.policy) for it in contract.watched]
        assert day == Contract.from_json(contract.to_json()).by_key["day"]
