"""The dbt source block for what another location makes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from freshline.contract import Column, Contract, Export
from freshline.dbt.sources import merge_sources
from freshline.errors import SourcesError
from freshline.policy import MaxLag

SHOP = Contract(
    location="shop",
    exports=(
        Export(
            key="raw/orders",
            description="One row an order.",
            policy=MaxLag(5),
            columns=(
                Column(name="id", type="bigint", description="Never reused."),
                Column(name="amount", type="numeric(10, 2)"),
            ),
        ),
        Export(key="raw/customers"),
    ),
)

BLOCK = """\
version: 2
sources:
  # What shop makes; updated by `freshline sources shop`
  - name: raw
    tables:
      - name: orders
        description: One row an order.
        config:
          meta:
            freshline:
              maximum_lag_minutes: 5
        columns:
          - name: id
            data_type: bigint
            description: Never reused.
          - name: amount
            data_type: numeric(10, 2)
      - name: customers
"""

TEAMS_FILE = """\
# Our sources. Ask in #data before adding one.
version: 2

models:
  - name: stg_orders

sources:
  - name: raw   # loaded by the shop team
    schema: "{{ var('raw_schema', 'raw') }}"
    meta: {owner: us}
    tables:
      - name: orders
        description: An old description.
        columns:
          # the key
          - name: id
            data_type: integer
            tests: [unique, not_null]
          - name: old_name
            data_type: text
          - name: precious
            data_type: text
            tests:
              - not_null
  - name: ours
    tables:
      - name: things
"""


def block(table: dict[str, Any], **source: Any) -> str:
    """Return a dbt file with the table `orders` and the fields that a team wrote."""
    tables = [{"name": "orders", **table}]
    return yaml.safe_dump({"sources": [{"name": "raw", **source, "tables": tables}]})


def tables(text: str) -> dict[str, dict[str, Any]]:
    (source,) = yaml.safe_load(text)["sources"]
    return {table["name"]: table for table in source["tables"]}


def with_policy(policy: MaxLag | None) -> Contract:
    """Return the shop's contract with another policy on its orders."""
    orders, customers = SHOP.exports
    return SHOP.model_copy(
        update={"exports": (orders.model_copy(update={"policy": policy}), customers)}
    )


class TestMergeSources:
    def test_writes_keys_columns_types_descriptions_and_policies(self) -> None:
        assert BLOCK == merge_sources("", SHOP)

    def test_is_idempotent(self) -> None:
        assert BLOCK == merge_sources(BLOCK, SHOP)

    def test_keeps_what_the_team_added(self) -> None:
        assert """\
# Our sources. Ask in #data before adding one.
version: 2

models:
  - name: stg_orders

sources:
  - name: raw   # loaded by the shop team
    schema: "{{ var('raw_schema', 'raw') }}"
    meta: {owner: us}
    tables:
      - name: orders
        description: One row an order.
        columns:
          # the key
          - name: id
            data_type: bigint
            tests: [unique, not_null]
            description: Never reused.
          - name: precious
            data_type: text
            tests:
              - not_null
          - name: amount
            data_type: numeric(10, 2)
        config:
          meta:
            freshline:
              maximum_lag_minutes: 5
  - name: ours
    tables:
      - name: things
""" == merge_sources(TEAMS_FILE, SHOP)

    def test_is_idempotent_on_a_teams_own_file(self) -> None:
        once = merge_sources(TEAMS_FILE, SHOP)

        assert once == merge_sources(once, SHOP)

    def test_a_table_that_lists_its_columns_gets_no_others(self) -> None:
        listed = """\
sources:
  - name: raw
    tables:
      - name: orders
        config: {meta: {freshline: {columns: listed}}}
        columns:
          - name: id
"""
        (source,) = yaml.safe_load(merge_sources(listed, SHOP))["sources"]

        assert [{"name": "id", "data_type": "bigint", "description": "Never reused."}] == source[
            "tables"
        ][0]["columns"]

    @pytest.mark.parametrize(
        "holder",
        [
            {"loaded_at_field": "at"},
            {"config": {"loaded_at_field": "at"}},
            {"config": {"loaded_at_query": "select max(at) from orders"}},
        ],
    )
    @pytest.mark.parametrize("of_the_source", [True, False])
    def test_writes_dbts_own_freshness_when_dbt_can_check_it(
        self, holder: dict[str, Any], of_the_source: bool
    ) -> None:
        source, table = ({}, holder) if not of_the_source else (holder, {})
        policy = {"config": {"meta": {"freshline": {"maximum_lag_minutes": 9}}}}

        merged = tables(merge_sources(block({**policy, **table}, **source), SHOP))["orders"]

        limit = {"error_after": {"count": 5, "period": "minute"}}
        assert {**table.get("config", {}), "freshness": limit} == merged["config"]

    def test_keeps_the_teams_own_freshness(self) -> None:
        own = {"loaded_at_field": "at", "freshness": {"warn_after": {"count": 1, "period": "day"}}}

        merged = tables(merge_sources(block(own), SHOP))["orders"]

        assert own["freshness"] == merged["freshness"]
        assert "config" not in merged

    def test_updates_a_policy_beside_the_teams_own_meta(self) -> None:
        ours = {"columns": "listed", "maximum_lag_minutes": 60, "cron": "0 9 * * *"}
        before = block({"meta": {"owner": "us", "freshline": ours}})

        merged = tables(merge_sources(before, SHOP))["orders"]

        assert {
            "owner": "us",
            "freshline": {"columns": "listed", "maximum_lag_minutes": 5},
        } == merged["meta"]
        assert "config" not in merged

    def test_writes_a_policy_with_a_cron(self) -> None:
        at_nine = with_policy(MaxLag(1.5, "0 9 * * *", "Europe/Amsterdam"))

        merged = tables(merge_sources("", at_nine))["orders"]

        assert {
            "maximum_lag_minutes": 1.5,
            "cron": "0 9 * * *",
            "timezone": "Europe/Amsterdam",
        } == merged["config"]["meta"]["freshline"]

    @pytest.mark.parametrize("kept", [{}, {"meta": {"owner": "us"}}, {"enabled": True}])
    def test_removes_a_policy_that_is_gone(self, kept: dict[str, Any]) -> None:
        once = merge_sources(block({"config": kept} if kept else {}), SHOP)

        merged = tables(merge_sources(once, with_policy(None)))["orders"]

        assert kept == merged.get("config", {})

    def test_a_named_table_is_the_only_one_written(self) -> None:
        (source,) = yaml.safe_load(merge_sources("", SHOP, ["raw/customers"]))["sources"]

        assert [{"name": "customers"}] == source["tables"]

    def test_by_default_updates_the_tables_that_the_file_has(self) -> None:
        (source,) = yaml.safe_load(
            merge_sources("sources: [{name: raw, tables: [{name: customers}]}]", SHOP)
        )["sources"]

        assert [{"name": "customers"}] == source["tables"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: [", "the file is not YAML"),
            ("- a", "not a dbt properties file"),
            ("sources: 3", "not a dbt properties file"),
        ],
    )
    def test_refuses_a_file_that_is_not_a_dbt_file(self, text: str, message: str) -> None:
        with pytest.raises(SourcesError, match=message):
            merge_sources(text, SHOP)

    def test_refuses_a_key_that_the_producer_does_not_make(self) -> None:
        with pytest.raises(SourcesError) as caught:
            merge_sources("", SHOP, ["raw/order"])

        assert "shop makes no raw/order; it makes raw/orders, raw/customers." == str(caught.value)

    @pytest.mark.parametrize("only", [None, ["lake/raw/orders"]])
    def test_a_key_that_gives_no_name_of_a_source_is_refused_with_what_to_write(
        self, only: list[str] | None
    ) -> None:
        lake = Contract(location="lake", exports=(Export(key="lake/raw/orders"),))

        with pytest.raises(SourcesError) as caught:
            merge_sources("", lake, only)

        assert "lake/raw/orders of lake has 3 parts, and only from a key [layer, table]" in str(
            caught.value
        )
        assert "config: {meta: {dagster: {asset_key: [lake, raw, orders]}}}" in str(caught.value)
