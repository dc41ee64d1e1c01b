"""Dagster's own translator. Two sources of the project are one table: the same asset key."""

import sys
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


dbt_beside_python = str(Path(sys.executable).with_name("dbt"))
resource = DbtCliResource(project_dir=str(MANIFEST.parents[1]), dbt_executable=dbt_beside_python)
defs = dg.Definitions(assets=[sales], resources={"dbt": resource})
