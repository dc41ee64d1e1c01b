"""The models of dbt_project_2 as assets, their dbt tests as asset checks."""

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext
from dagster_dbt import DbtCliResource, dbt_assets
from freshline import FreshlineDbtTranslator, build_dbt, dbt_manifest

from analytics_marts.resources import project


@dbt_assets(
    manifest=dbt_manifest(project),
    project=project,
    name="dbt_project_2",
    dagster_dbt_translator=FreshlineDbtTranslator(),
    # All builds in the warehouse share a pool; tools/limits.py says how many run at once.
    pool="warehouse",
)
def dbt_models(context: AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Build and test the models that the run selects, in one dbt invocation."""
    yield from build_dbt(context, dbt)
