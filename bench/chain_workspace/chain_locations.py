"""The workspace's code locations as `chain.py` serves them: the real ones, but for three things.

Both marts may be `LAG_MINUTES` behind, so that a round need not wait for ten minutes until the
chain is due. Nothing is synced on a schedule, which would come in between. And each location is
there twice: with its own executor, which makes a run in one process, and with Dagster's default.

The Python of each location loads this file, and finds its own packages alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import dagster as dg
from freshline import max_lag, with_freshline

LAG_MINUTES = 4
MARTS = ("mart/mart_gh_cumulative", "mart/mart_gh_join")


def ingestion() -> dg.Definitions:
    return _syncs(dg.in_process_executor)


def ingestion_by_defaults() -> dg.Definitions:
    return _syncs(None)


def analytics_core() -> dg.Definitions:
    return _models("analytics_core", dg.in_process_executor)


def analytics_core_by_defaults() -> dg.Definitions:
    return _models("analytics_core", None)


def analytics_marts() -> dg.Definitions:
    return _models("analytics_marts", dg.in_process_executor)


def analytics_marts_by_defaults() -> dg.Definitions:
    return _models("analytics_marts", None)


def _syncs(executor: dg.ExecutorDefinition | None) -> dg.Definitions:
    own = import_module("ingestion.definitions").build_definitions()
    return with_freshline(
        dg.Definitions(assets=own.assets, resources=own.resources, executor=executor),
        location="ingestion",
    )


def _models(location: str, executor: dg.ExecutorDefinition | None) -> dg.Definitions:
    models: dg.AssetsDefinition = import_module(f"{location}.assets").dbt_models
    dbt: Any = import_module(f"{location}.resources").dbt
    return with_freshline(
        dg.Definitions(
            assets=[models.map_asset_specs(_soon_due)], resources={"dbt": dbt}, executor=executor
        ),
        location=location,
    )


def _soon_due(spec: dg.AssetSpec) -> dg.AssetSpec:
    if spec.key.to_user_string() not in MARTS:
        return spec
    return spec.merge_attributes(metadata=max_lag(minutes=LAG_MINUTES))
