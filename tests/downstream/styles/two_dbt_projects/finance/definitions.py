"""Reads the same source as the other project, and a model of it as a source of its own."""

import sys
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

MANIFEST = Path(__file__).parent / "target" / "manifest.json"


@dbt_assets(manifest=MANIFEST)
def finance(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


dbt_beside_python = str(Path(sys.executable).with_name("dbt"))
resource = DbtCliResource(project_dir=str(MANIFEST.parents[1]), dbt_executable=dbt_beside_python)
defs = dg.Definitions(assets=[finance], resources={"dbt": resource})
