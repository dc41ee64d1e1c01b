"""Contracts: from definitions, as a file, through the instance, and as one graph."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest
from freshline.contract import (
    SCHEMA_VERSION,
    Column,
    Contract,
    ContractReader,
    Export,
    Import,
    PublishedContract,
    UsedColumn,
    contract_asset_key,
    contract_materialization,
    contract_spec,
    graph_of,
    heartbeat,
    json_schema,
    read_contracts,
    retirement,
)
from freshline.contract.describe import describe
from freshline.contract.document import WatchedPolicy
from freshline.contract.publication import digest
from freshline.errors import ContractError
from freshline.model import Asset
from freshline.policy import MaxLag, max_lag

SCHEMA = Path(__file__).parents[2] / "docs" / "contract.schema.json"

ORDERS_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("id", "bigint", constraints=dg.TableColumnConstraints(nullable=False)),
        dg.TableColumn("amount", "numeric(10, 2)", description="In euros."),
    ]
)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(["raw", "orders"], metadata={"dagster/column_schema": ORDERS_COLUMNS}),
        dg.AssetSpec(["raw", "lines"], deps=[["raw", "orders"]]),
    ],
    name="load",
)
def load(): ...


@dg.multi_asset(
    specs=[
        dg.AssetSpec(["stage", "a"], skippable=True),
        dg.AssetSpec(["stage", "b"], skippable=True),
    ],
    can_subset=True,
)
def staged(): ...


@dg.asset(
    key=["mart", "revenue"],
    deps=[["raw", "orders"], ["crm", "customers"], ["rates", "daily"]],
    group_name="finance",
    owners=["team:finance", "ann@example.com"],
    kinds={"sql", "postgres"},
    description="What came in.",
    metadata={
        **max_lag(minutes=10),
        "freshline/uses": {"crm/customers": [{"name": "id", "type": "bigint"}, {"name": "name"}]},
        "freshline/outside": ["rates/daily"],
        "freshline/columns_enforced": True,
        "freshline/expected_seconds": 40,
        "freshline/file": "models/revenue.sql",
    },
)
def revenue() -> None: ...


def contract_of(*assets: Any, location: str = "shop", **kwargs: Any) -> Contract:
    return Contract.from_definitions(dg.Definitions(assets=assets), location, **kwargs)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


class TestFromDefinitions:
    def test_exports_have_all_fields(self) -> None:
        (export,) = contract_of(revenue).exports

        assert (
            Export(
                key="mart/revenue",
                deps=("crm/customers", "rates/daily", "raw/orders"),
                group="finance",
                owners=("ann@example.com", "team:finance"),
                kinds=("postgres", "sql"),
                policy=MaxLag(10),
                columns=None,
                columns_enforced=True,
                expected_seconds=40,
                description="What came in.",
                file="models/revenue.sql",
            )
            == export
        )

    def test_columns_are_in_the_order_of_the_table(self) -> None:
        export = contract_of(load).by_key["raw/orders"]

        assert (
            Column(name="id", type="bigint", nullable=False),
            Column(name="amount", type="numeric(10, 2)", description="In euros."),
        ) == export.columns

    def test_assets_that_cannot_be_made_alone_share_a_unit(self) -> None:
        contract = contract_of(load, staged, revenue)

        assert {
            "mart/revenue": "",
            "raw/lines": "load",
            "raw/orders": "load",
            "stage/a": "",
            "stage/b": "",
        } == {export.key: export.unit for export in contract.exports}

    def test_imports_are_dependencies_that_the_location_does_not_make(self) -> None:
        contract = contract_of(load, revenue)

        assert (
            Import(
                key="crm/customers",
                used_by=("mart/revenue",),
                columns=(
                    UsedColumn(name="id", type="bigint", used_by=("mart/revenue",)),
                    UsedColumn(name="name", used_by=("mart/revenue",)),
                ),
            ),
            Import(key="rates/daily", used_by=("mart/revenue",)),
        ) == contract.imports

    def test_outside_keys_come_from_consumers_and_external_definitions(self) -> None:
        elsewhere = dg.AssetSpec(["crm", "customers"], metadata={"freshline/outside": True})

        contract = contract_of(load, revenue, elsewhere)

        assert ("crm/customers", "rates/daily") == contract.outside
        assert ("crm/customers",) == contract.declares

    def test_an_asset_that_the_location_makes_is_not_outside(self) -> None:
        rates = dg.asset(key=["rates", "daily"])(lambda: None)

        assert () == contract_of(load, revenue, rates).outside

    def test_columns_of_an_external_definition_are_used_by_all_its_readers(self) -> None:
        table = dg.TableSchema(columns=[dg.TableColumn("id", "bigint")])
        with pytest.warns(DeprecationWarning, match="SourceAsset"):  # as in many workspaces
            source = dg.SourceAsset(
                ["crm", "customers"],
                metadata={"dagster/column_schema": dg.MetadataValue.table_schema(table)},
            )
        reader = dg.asset(key=["mart", "people"], deps=[["crm", "customers"]])(lambda: None)

        assert (
            Import(
                key="crm/customers",
                declared=True,
                used_by=("mart/people",),
                columns=(UsedColumn(name="id", type="bigint", used_by=("mart/people",)),),
            ),
        ) == contract_of(reader, source).imports

    def test_external_assets_that_nothing_reads_are_no_imports(self) -> None:
        external = dg.AssetSpec(["crm", "people"], deps=[["crm", "visits"]])
        made = dg.asset(key=["mart", "x"])(lambda: None)

        assert () == contract_of(external, made).imports

    @pytest.mark.parametrize(
        ("integration", "attributes"),
        [
            ("sling", {"kinds": {"sling"}}),
            ("sling", {"metadata": {"dagster_sling/sling_replication_config": {"source": "x"}}}),
            ("fivetran", {"metadata": {"dagster-fivetran/connector_id": "x"}}),
            (None, {"kinds": {"postgres"}, "metadata": {"dagster/table_name": "a.b"}}),
        ],
    )
    def test_inputs_of_an_integration_are_declared_by_it(
        self, integration: str | None, attributes: dict[str, Any]
    ) -> None:
        @dg.multi_asset(specs=[dg.AssetSpec("copy", deps=["original"], **attributes)])
        def replicate(): ...

        (needed,) = contract_of(replicate).imports

        assert integration == needed.declared_by

    def test_the_contract_asset_itself_is_not_exported(self) -> None:
        contract = contract_of(revenue, contract_spec("shop", 7))

        assert ["mart/revenue"] == [export.key for export in contract.exports]
        assert 7 == contract.tick_seconds
        assert "shop" == contract.published_as

    def test_a_partitioned_asset_is_marked(self) -> None:
        days = dg.DailyPartitionsDefinition("2026-01-01")
        daily = dg.asset(key=["raw", "daily"], partitions_def=days)(lambda: None)

        assert contract_of(daily).by_key["raw/daily"].partitioned

    def test_a_policy_on_a_partitioned_asset_is_kept_for_the_gate(self) -> None:
        days = dg.DailyPartitionsDefinition("2026-01-01")
        daily = dg.asset(key=["raw", "daily"], partitions_def=days, metadata=max_lag(5))(
            lambda: None
        )

        export = contract_of(daily).by_key["raw/daily"]

        assert (True, MaxLag(5)) == (export.partitioned, export.policy)

    def test_the_pools_are_those_of_all_ops(self) -> None:
        @dg.op(pool="source")
        def extract() -> int:
            return 1

        @dg.op(tags={"dagster/concurrency_key": "warehouse"})
        def load(rows: int) -> int:
            return rows

        @dg.op
        def announce(rows: int) -> int:
            return rows

        @dg.graph_asset(name="steps")
        def of_ops() -> Any:
            return announce(load(extract()))

        @dg.asset(name="step", pool="warehouse")
        def of_one() -> None: ...

        contract = contract_of(of_ops, of_one, revenue)

        assert {"mart/revenue": (), "step": ("warehouse",), "steps": ("source", "warehouse")} == {
            export.key: export.pools for export in contract.exports
        }
        assert contract == Contract.from_json(contract.to_json())
        assert ("warehouse",) == graph_of([contract]).assets["step"].pools

    def test_a_static_asset_is_marked(self) -> None:
        rates = dg.asset(key=["raw", "rates"], metadata={"freshline/static": True})(lambda: None)

        assert contract_of(rates).by_key["raw/rates"].static
        assert not contract_of(revenue).by_key["mart/revenue"].static


def legacy(minutes: float, **fields: Any) -> Any:
    """Return a policy of Dagster's first kind, which is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.LegacyFreshnessPolicy(maximum_lag_minutes=minutes, **fields)


def asset(**fields: Any) -> Any:
    """Return an asset ``raw/x``; Dagster warns of the older fields."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.asset(key=["raw", "x"], **fields)(lambda: None)


class TestPolicies:
    def test_are_read_in_dagsters_older_notation(self) -> None:
        daily = legacy(60, cron_schedule="0 9 * * *", cron_schedule_timezone="Europe/Amsterdam")

        contract = contract_of(asset(legacy_freshness_policy=daily))

        assert MaxLag(60, "0 9 * * *", "Europe/Amsterdam") == contract.by_key["raw/x"].policy
        assert () == contract.unkept

    def test_what_is_written_in_two_notations_counts_once(self) -> None:
        agree = asset(legacy_freshness_policy=legacy(5), metadata=max_lag(5))
        differ = asset(legacy_freshness_policy=legacy(10), metadata=max_lag(5))

        assert MaxLag(5) == contract_of(agree).by_key["raw/x"].policy
        assert () == contract_of(agree).unkept
        contract = contract_of(differ)
        assert MaxLag(5) == contract.by_key["raw/x"].policy
        (unkept,) = contract.unkept
        assert ("raw/x", "legacy_freshness_policy", "wrong") == (
            unkept.key,
            unkept.notation,
            unkept.reason,
        )
        assert "two different policies, at most 5 minutes behind in freshline/max_lag and" in str(
            unkept.problem
        )

    @pytest.mark.parametrize("written", [{"minutes": -1}, {"minuets": 5}, 5, dg.AssetKey("x")])
    def test_one_that_cannot_be_read_is_not_kept_and_hides_nothing(self, written: object) -> None:
        contract = contract_of(asset(metadata={"freshline/max_lag": written}), revenue)

        assert None is contract.by_key["raw/x"].policy
        assert MaxLag(10) == contract.by_key["mart/revenue"].policy
        (unkept,) = contract.unkept
        assert "wrong" == unkept.reason
        assert str(unkept.problem).startswith("asset raw/x: ")

    def test_one_on_a_partitioned_asset_is_kept(self) -> None:
        days = dg.DailyPartitionsDefinition("2026-01-01")

        contract = contract_of(asset(partitions_def=days, legacy_freshness_policy=legacy(5)))

        assert MaxLag(5) == contract.by_key["raw/x"].policy
        assert () == contract.unkept

    def test_an_older_one_on_partitions_that_cannot_be_followed_is_not_kept(self) -> None:
        weekdays = dg.TimeWindowPartitionsDefinition(
            start="2026-01-01", fmt="%Y-%m-%d", cron_schedule="0 0 * * *", exclusions=["0 0 * * 0"]
        )

        contract = contract_of(asset(partitions_def=weekdays, legacy_freshness_policy=legacy(5)))

        assert None is contract.by_key["raw/x"].policy
        assert [
            ("partitioned", "its time windows have exclusions, which freshline does not follow")
        ] == [(unkept.reason, unkept.problem) for unkept in contract.unkept]

    def test_dagsters_own_is_named_if_there_is_no_other(self) -> None:
        hourly = dg.FreshnessPolicy.time_window(timedelta(hours=1))

        alone = contract_of(asset(freshness_policy=hourly))
        beside = contract_of(asset(freshness_policy=hourly, metadata=max_lag(5)))

        assert [("raw/x", "native")] == [(it.key, it.reason) for it in alone.unkept]
        assert () == beside.unkept

    @pytest.mark.parametrize("definition", [dg.AssetSpec, dg.SourceAsset])
    def test_one_on_an_external_definition_is_watched(self, definition: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SourceAsset is deprecated
            external = definition(dg.AssetKey(["crm", "customers"]), metadata=max_lag(30))

        contract = contract_of(revenue, external)

        assert (WatchedPolicy(key="crm/customers", policy=MaxLag(30)),) == contract.watched
        assert () == contract.unkept

    def test_older_ones_do_not_count_in_a_location_without_freshline(self) -> None:
        assets = dg.Definitions(assets=[asset(legacy_freshness_policy=legacy(5))])

        contract = Contract.from_description(describe([assets.get_repository_def()], "shop"))

        assert None is contract.by_key["raw/x"].policy
        assert ["not adopted"] == [unkept.reason for unkept in contract.unkept]

    def test_are_the_same_in_a_file(self) -> None:
        contract = contract_of(asset(metadata={"freshline/max_lag": 5}))

        assert contract.unkept == Contract.from_json(contract.to_json()).unkept


class TestFile:
    def test_reads_back_what_it_wrote(self) -> None:
        contract = contract_of(load, revenue, tick_seconds=5, code_version="1a2b")

        assert contract == Contract.from_json(contract.to_json())

    def test_is_small_sorted_and_one_fact_a_line(self) -> None:
        contract = contract_of(load, revenue).model_copy(update={"dagster_version": "1.13.27"})

        assert """\
{
  "schema_version": 1,
  "location": "shop",
  "dagster_version": "1.13.27",
  "published_as": "shop",
  "exports": [
    {
      "key": "mart/revenue",
      "deps": ["crm/customers", "rates/daily", "raw/orders"],
      "group": "finance",
      "owners": ["ann@example.com", "team:finance"],
      "kinds": ["postgres", "sql"],
      "policy": {"minutes": 10},
      "columns_enforced": true,
      "expected_seconds": 40.0,
      "description": "What came in.",
      "file": "models/revenue.sql"
    },
    {"key": "raw/lines", "deps": ["raw/orders"], "unit": "load"},
    {
      "key": "raw/orders",
      "unit": "load",
      "columns": [
        {"name": "id", "type": "bigint", "nullable": false},
        {"name": "amount", "type": "numeric(10, 2)", "description": "In euros."}
      ]
    }
  ],
  "imports": [
    {
      "key": "crm/customers",
      "used_by": ["mart/revenue"],
      "columns": [
        {"name": "id", "type": "bigint", "used_by": ["mart/revenue"]},
        {"name": "name", "used_by": ["mart/revenue"]}
      ]
    },
    {"key": "rates/daily", "used_by": ["mart/revenue"]}
  ],
  "outside": ["rates/daily"]
}
""" == contract.to_json()

    def test_the_order_of_the_definitions_does_not_matter(self) -> None:
        assert (
            contract_of(load, staged, revenue).to_json()
            == contract_of(revenue, staged, load).to_json()
        )

    def test_known_fields_of_a_newer_schema_are_read(self) -> None:
        document = {
            "schema_version": SCHEMA_VERSION + 1,
            "location": "shop",
            "quality": {"score": 1},
            "exports": [
                {"key": "raw/x", "sla": "gold", "policy": {"minutes": 5, "percentile": 99}}
            ],
        }

        contract = Contract.from_json(json.dumps(document))

        assert contract.newer
        assert (Export(key="raw/x", policy=MaxLag(5)),) == contract.exports

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "the contract is not JSON"),
            ("[]", "contract: document: "),
            ('{"exports": []}', "contract: location: Field required"),
            (
                '{"location": "shop", "exports": [{"key": "a"}, {"key": "b", "deps": 3}]}',
                "contract of shop: exports.[b].deps: ",
            ),
        ],
    )
    def test_a_bad_file_names_the_field(self, text: str, message: str) -> None:
        with pytest.raises(ContractError) as caught:
            Contract.from_json(text)

        assert str(caught.value).startswith(message)


class TestSchema:
    def test_the_published_file_is_up_to_date(self) -> None:
        assert json_schema() == json.loads(SCHEMA.read_text(encoding="utf-8"))

    def test_accepts_a_written_contract(self) -> None:
        document = json.loads(contract_of(load, revenue, tick_seconds=5).to_json())

        assert [] == list(jsonschema.Draft202012Validator(json_schema()).iter_errors(document))


class TestPublication:
    def test_a_published_contract_is_read_back(self, instance: dg.DagsterInstance) -> None:
        shop = contract_of(load, revenue, tick_seconds=5, code_version="1a2b")
        marts = contract_of(revenue, location="marts")
        for contract in (shop, marts):
            instance.report_runless_asset_event(contract_materialization(contract))

        published = read_contracts(instance)

        assert ["marts", "shop"] == list(published)
        assert shop == published["shop"].contract
        record = instance.get_latest_materialization_event(contract_asset_key("shop"))
        assert record is not None
        assert record.timestamp == published["shop"].published_at

    def test_the_latest_contract_counts(self, instance: dg.DagsterInstance) -> None:
        reader = ContractReader()
        for contract in (contract_of(load), contract_of(load, revenue)):
            instance.report_runless_asset_event(contract_materialization(contract))
            read = reader.read(instance)["shop"].contract

            assert contract == read

    def test_known_content_is_not_parsed_again(self, instance: dg.DagsterInstance) -> None:
        reader = ContractReader()
        instance.report_runless_asset_event(contract_materialization(contract_of(load)))
        first = reader.read(instance)["shop"].contract
        instance.report_runless_asset_event(contract_materialization(contract_of(load)))

        assert first is reader.read(instance)["shop"].contract

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_heartbeat_refers_to_the_content(
        self, instance: dg.DagsterInstance, restarted: bool
    ) -> None:
        reader = ContractReader()
        instance.report_runless_asset_event(contract_materialization(contract_of(load)))
        first = reader.read(instance)["shop"]
        for _ in range(2):
            instance.report_runless_asset_event(heartbeat(reader.read(instance)["shop"]))
        event = instance.get_latest_materialization_event(contract_asset_key("shop"))
        last = (ContractReader() if restarted else reader).read(instance)["shop"]

        assert event is not None
        assert event.asset_materialization is not None
        assert "freshline/contract" not in event.asset_materialization.metadata
        assert (first.contract, first.digest, first.content_id) == (
            last.contract,
            last.digest,
            last.content_id,
        )
        assert event.timestamp == last.published_at > first.published_at

    def test_a_heartbeat_without_its_content_is_a_problem(
        self, instance: dg.DagsterInstance
    ) -> None:
        contract = contract_of(load)
        gone = PublishedContract(contract, 0.0, digest(contract), content_id=10**6)
        instance.report_runless_asset_event(heartbeat(gone))
        reader = ContractReader()

        # The location finds no contract of its own and publishes it again.
        assert {} == reader.read(instance)
        assert {"shop"} == set(reader.problems)

    def test_a_contract_that_cannot_be_read_is_a_problem_and_others_are_read(
        self, instance: dg.DagsterInstance
    ) -> None:
        instance.report_runless_asset_event(contract_materialization(contract_of(load)))
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                contract_asset_key("broken"), metadata={"freshline/contract": '{"exports": 1}'}
            )
        )
        instance.report_runless_asset_event(dg.AssetMaterialization(contract_asset_key("empty")))
        reader = ContractReader()

        assert ["shop"] == list(reader.read(instance))
        assert {"broken", "empty"} == set(reader.problems)
        assert "contract: location: Field required" == reader.problems["broken"]

    def test_a_retired_location_is_gone_until_it_publishes_again(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = ContractReader()
        instance.report_runless_asset_event(contract_materialization(contract_of(load)))
        instance.report_runless_asset_event(retirement("shop"))

        assert {} == reader.read(instance)
        assert {"shop"} == reader.retired

        instance.report_runless_asset_event(contract_materialization(contract_of(load)))

        assert ["shop"] == list(reader.read(instance))
        assert set() == reader.retired


class TestGraph:
    def test_has_the_assets_of_all_locations(self) -> None:
        graph = graph_of(
            [
                contract_of(load, location="shop", tick_seconds=5),
                contract_of(revenue, location="marts", tick_seconds=30),
            ]
        )

        assert {
            "mart/revenue": Asset(
                "mart/revenue",
                "marts",
                deps=("crm/customers", "rates/daily", "raw/orders"),
                policy=MaxLag(10),
            ),
            "raw/lines": Asset("raw/lines", "shop", deps=("raw/orders",), execution_set="load"),
            "raw/orders": Asset("raw/orders", "shop", execution_set="load"),
        } == graph.assets
        assert {"shop": 5, "marts": 30} == graph.ticks
        assert frozenset({"rates/daily"}) == graph.outside

    def test_a_key_made_twice_belongs_to_one_location(self) -> None:
        one, two = contract_of(load, location="a"), contract_of(load, location="b")

        assert "a" == graph_of([one, two]).assets["raw/orders"].location
        assert "a" == graph_of([two, one]).assets["raw/orders"].location

    def test_an_asset_that_a_location_makes_is_not_outside(self) -> None:
        rates = dg.asset(key=["rates", "daily"])(lambda: None)

        graph = graph_of([contract_of(revenue, location="a"), contract_of(rates, location="b")])

        assert frozenset() == graph.outside
