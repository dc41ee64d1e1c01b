"""Write the data time and the lag of a materialization into its metadata, while its step runs.

A root states when its sync began to read (`data_time_metadata`). The data time of any other asset
follows from the exact versions that it read (`stamp_lag`, `lag_metadata`): those that Dagster
records with the materialization.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    MaterializeResult,
    MetadataValue,
    Output,
)

from freshline.contract import graph_of, read_contracts
from freshline.contract.elsewhere import Elsewhere
from freshline.contract.graph import made_outside, unexplained
from freshline.history import History
from freshline.model import Asset, Graph
from freshline.names import DATA_TIME, LAG_SECONDS

__all__ = ["data_time_metadata", "lag_metadata", "stamp_lag"]


def data_time_metadata(started: datetime) -> dict[str, Any]:
    """Return metadata for the materialization of a root whose sync began to read at `started`.

    The version reflects every source row that existed then. Take the time before the sync is
    asked for, never after. Raises `ValueError` for a time without a time zone.
    """
    if started.tzinfo is None:
        raise ValueError(f"{started} has no time zone: take datetime.now(UTC)")
    return {DATA_TIME: MetadataValue.timestamp(started.astimezone(UTC))}


def lag_metadata(context: AssetExecutionContext) -> dict[str, Any]:
    """Return the data time and the lag (seconds, as of now) of the Python asset that is running.

    Call it last: ``context.add_output_metadata(lag_metadata(context))``. Empty if the data time is
    unknown.
    """
    return _Stamp(context).metadata(context.asset_key)


def stamp_lag(context: AssetExecutionContext, results: Iterable[Any]) -> Iterator[Any]:
    """Yield `results`, with `freshline/data_time` and `freshline/lag_seconds` on what they make.

    Wraps what a step yields, a dbt event stream for example, and comes last:
    ``yield from stamp_lag(context, dbt.cli(["build"], context=context).stream())``.
    """
    stamp = _Stamp(context)
    for result in results:
        key = stamp.key_of(result)
        metadata = stamp.metadata(key) if key is not None else {}
        yield _with_metadata(result, metadata) if metadata else result


class _Stamp:
    """Works out the data times of what one step makes."""

    def __init__(self, context: AssetExecutionContext) -> None:
        self._context = context
        self._made: dict[AssetKey, float | None] = {}

    @cached_property
    def _graph(self) -> Graph:
        """The graph of all contracts, with what this step makes as its code says."""
        instance = self._context.instance
        contracts = [published.contract for published in read_contracts(instance).values()]
        found = Elsewhere().find(
            instance,
            unexplained(contracts),
            made_outside(contracts),
            {contract.location for contract in contracts},
        )
        graph = graph_of(contracts, elsewhere=found)
        own = {
            key.to_user_string(): tuple(sorted(dep.to_user_string() for dep in deps - {key}))
            for key, deps in self._context.assets_def.asset_deps.items()
        }
        running = {
            key: replace(graph.assets.get(key, Asset(key, "")), deps=deps, elsewhere=False)
            for key, deps in own.items()
        }
        return replace(graph, assets={**graph.assets, **running})

    @cached_property
    def _history(self) -> History:
        return History(self._context.instance)

    def key_of(self, result: Any) -> AssetKey | None:
        """Return the asset that `result` materializes; None: it is another event."""
        key: AssetKey | None = None
        if isinstance(result, Output):
            key = self._context.asset_key_for_output(result.output_name)
        elif isinstance(result, MaterializeResult):
            key = result.asset_key or self._context.asset_key
        elif isinstance(result, AssetMaterialization):
            key = result.asset_key
        return key

    def metadata(self, key: AssetKey) -> dict[str, Any]:
        """Return the stamp of the asset `key`; empty if its data time is unknown."""
        data_time = self._data_time(key)
        self._made[key] = data_time
        if data_time is None:
            return {}
        at = datetime.fromtimestamp(data_time, UTC)
        return {
            DATA_TIME: MetadataValue.timestamp(at),
            LAG_SECONDS: MetadataValue.float(max(0.0, time.time() - data_time)),
        }

    def _data_time(self, key: AssetKey) -> float | None:
        """Return the data time of `key`. None: unknown, or a root, which states its own."""
        context = self._context
        deps = context.assets_def.asset_deps.get(key, set()) - self._made.keys() - {key}
        partitions: Sequence[str | None] = [None]
        if self._graph.assets[key.to_user_string()].partitioned:
            partitions = context.partition_keys
        return self._history.data_time_read(
            self._graph,
            key.to_user_string(),
            partitions,
            context.run.run_id,
            context.get_step_execution_context().step.key,
            {dep.to_user_string(): self._consumed(dep) for dep in deps},
            {made.to_user_string(): data_time for made, data_time in self._made.items()},
        )

    def _consumed(self, dep: AssetKey) -> int | None:
        """Return the id of the version of `dep` that Dagster will record as consumed.

        Dagster looks versions up once, when the step starts. No public function returns what it
        found, and a second look could find a newer version, which the step may not have read.
        """
        step = self._context.get_step_execution_context()
        found = step.maybe_fetch_and_get_input_asset_version_info(dep)
        return found.storage_id if found is not None else None


def _with_metadata(result: Any, metadata: Mapping[str, Any]) -> Any:
    merged = {**(result.metadata or {}), **metadata}
    if isinstance(result, MaterializeResult):
        return result._replace(metadata=merged)
    return result.with_metadata(merged)
