"""Reads the same source as the other project, and a model of it as a source of its own."""

from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets


@dbt_assets(manifest=Path(__file__).parent / "target" / "manifest.json")
def finance(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


defs = dg.Definitions(assets=[finance], resources={"dbt": DbtCliResource(project_dir="finance")})
