"""A location of a dbt project: the test copies this file into the folder of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets
from freshline import (
    FreshlineDbtResource,
    FreshlineDbtTranslator,
    build_dbt,
    dbt_manifest,
    with_freshline,
)
from made_by import say

FOLDER = Path(__file__).parent
project = DbtProject(FOLDER)


@dbt_assets(
    manifest=dbt_manifest(project),
    project=project,
    name=FOLDER.name,
    dagster_dbt_translator=FreshlineDbtTranslator(),
)
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    say(context)
    yield from build_dbt(context, dbt)


defs = with_freshline(
    dg.Definitions(
        assets=[models],
        resources={"dbt": FreshlineDbtResource(project)},
        executor=dg.in_process_executor,
    ),
    location=FOLDER.name,
)
