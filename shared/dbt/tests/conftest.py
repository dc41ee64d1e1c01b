"""A small dbt project with one resource of each kind, prepared."""

from __future__ import annotations

import subprocess
import sys

import pytest
from dagster_dbt import DbtProject

PROJECT = {
    "dbt_project.yml": """
        name: shop
        profile: warehouse
        models:
          shop:
            +schema: sales
            targets:
              +schema: "sales_{{ target.name }}"
        seeds:
          shop:
            +schema: sales
        flags:
          send_anonymous_usage_stats: false
    """,
    "profiles.yml": """
        warehouse:
          target: dev
          outputs:
            dev: {type: postgres, host: localhost, port: 1, user: me, password: "", dbname: shop,
                  schema: public}
    """,
    "models/sources.yml": """
        sources:
          - name: crm
            tables:
              - name: customers
                columns:
                  - {name: id, data_type: bigint}
                  - {name: note}
              - name: prices
                identifier: prices_v3
                config: {meta: {freshline: {outside: true}}}
    """,
    "models/groups.yml": """
        groups:
          - {name: selling, owner: {name: sales_team}}
          - {name: buying, owner: {name: buyers, email: buyers@example.com}}
    """,
    "models/orders.sql": """
        {{ config(
            group="selling",
            materialized="table",
            meta={"dagster_freshness_policy": {"maximum_lag_minutes": 15},
                  "freshline": {"expected_seconds": 40}},
        ) }}
        select id, 1 as amount from {{ ref("hidden") }}
        union all select 0, 1 from {{ source("crm", "prices") }}
    """,
    "models/hidden.sql": """
        {{ config(materialized="ephemeral") }}
        select id from {{ source("crm", "customers") }}
    """,
    "models/orders.yml": """
        models:
          - name: orders
            description: What was sold.
            config: {contract: {enforced: true}}
            columns:
              - {name: id, data_type: bigint, description: Of the order.,
                 constraints: [{type: not_null}],
                 data_tests: [{not_null: {name: id_is_known, description: No order is without.}}]}
              - {name: amount, data_type: integer}
    """,
    "models/renamed.sql": """
        {{ config(alias="turnover", materialized="view", group="buying") }}
        select * from {{ ref("orders") }}
    """,
    "models/bare.sql": """
        {{ config(dagster_freshness_policy={"maximum_lag_minutes": 60}) }}
        select 1 as one
    """,
    "models/by_target.sql": """
        {{ config(schema="sales_" ~ target.name) }}
        select 1 as one
    """,
    "models/targets/by_folder.sql": "select 1 as one",
    "seeds/countries.csv": "code\nNZ\n",
    "snapshots/past.yml": """
        snapshots:
          - name: past_orders
            relation: ref("orders")
            config: {schema: history, strategy: check, unique_key: id, check_cols: all}
    """,
}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    folder = tmp_path_factory.mktemp("location") / "shop"
    for name, text in PROJECT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").splitlines()
        indent = len(lines[0]) - len(lines[0].lstrip())
        path.write_text("\n".join(line[indent:] for line in lines) + "\n")
    subprocess.run([sys.executable, "-m", "freshline.dbt.prepare", str(folder)], check=True)
    return DbtProject(folder)
