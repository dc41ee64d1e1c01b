"""Dagster's own translator, with the project, so that the file of a source is known."""

import sys
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

PROJECT = DbtProject(Path(__file__).parent)


@dbt_assets(manifest=PROJECT.manifest_path, project=PROJECT)
def shop(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


dbt_beside_python = str(Path(sys.executable).with_name("dbt"))
resource = DbtCliResource(project_dir=PROJECT, dbt_executable=dbt_beside_python)
defs = dg.Definitions(assets=[shop], resources={"dbt": resource})
