"""Dagster's own translator. Two sources of the project are one table: the same asset key."""

from pathlib import Path

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliResource,
    dbt_assets,
)

MANIFEST = Path(__file__).parent / "target" / "manifest.json"
SETTINGS = DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True)


@dbt_assets(manifest=MANIFEST, dagster_dbt_translator=DagsterDbtTranslator(SETTINGS))
def sales(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


defs = dg.Definitions(assets=[sales], resources={"dbt": DbtCliResource(project_dir="sales")})
