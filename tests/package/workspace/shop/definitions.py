"""The location of a dbt project that reads what `feed` makes."""

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

project = DbtProject(Path(__file__).parent)


@dbt_assets(
    manifest=dbt_manifest(project),
    project=project,
    dagster_dbt_translator=FreshlineDbtTranslator(),
)
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    yield from build_dbt(context, dbt)


defs = with_freshline(
    dg.Definitions(
        assets=[models],
        resources={"dbt": FreshlineDbtResource(project)},
        executor=dg.in_process_executor,
    ),
    location="shop",
)
