"""Assets, runs and readers for tests against real event logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import dagster as dg
from freshline.history import History
from freshline.model import Asset, AssetState, Durations, Graph, Snapshot
from freshline.stamp import data_time_metadata

__all__ = [
    "Reader",
    "broken",
    "events_of",
    "fail",
    "graph",
    "made_at",
    "of_ops",
    "plain",
    "queue",
    "run",
    "step_started",
    "synced",
]


def graph(*, outside: tuple[str, ...] = (), **deps: tuple[str, ...]) -> Graph:
    """Return a graph of one location: `graph(root=(), mart=("root",))`."""
    assets = {key: Asset(key, "here", needs) for key, needs in deps.items()}
    return Graph(assets, ticks={"here": 5.0}, outside=frozenset(outside))


class Reader:
    """Reads with a history that follows the log, and compares that with what a new one reads."""

    def __init__(self, instance: dg.DagsterInstance, graph: Graph) -> None:
        self.instance = instance
        self.graph = graph
        self.history = History(instance)
        self.read()

    def read(self, now: float | None = None) -> Snapshot:
        at = time.time() if now is None else now
        followed = self.history.read(self.graph, at)
        first_read = History(self.instance).read(self.graph, at)

        assert _without_durations(first_read) == _without_durations(followed)
        return followed

    def __getitem__(self, key: str) -> AssetState:
        return self.read().assets.get(key, AssetState())

    def data_time(self, key: str) -> float | None:
        version = self[key].version
        assert version is not None
        return version.data_time


def _without_durations(snapshot: Snapshot) -> dict[str, AssetState]:
    """Leave out durations: older runs weigh less, and a new history reads runs in another order."""
    return {key: replace(state, durations=Durations()) for key, state in snapshot.assets.items()}


def plain(key: str, *deps: str, body: Callable[[], Any] | None = None) -> dg.AssetsDefinition:
    """Return an asset that runs `body`."""

    @dg.asset(name=key, deps=list(deps))
    def made() -> Any:
        return body() if body else dg.MaterializeResult()

    return made


def synced(key: str, at: datetime) -> dg.AssetsDefinition:
    """Return a root whose sync began to read at `at`."""
    return plain(key, body=lambda: dg.MaterializeResult(metadata=data_time_metadata(at)))


def fail() -> None:
    raise ValueError("the source is closed\nand more that nobody needs")


def broken(key: str, *deps: str) -> dg.AssetsDefinition:
    return plain(key, *deps, body=fail)


def of_ops(key: str, body: Callable[[], Any] | None = None) -> dg.AssetsDefinition:
    """Return a root made by a graph of two ops: `extract`, which runs `body`, then `load`."""

    @dg.op
    def extract() -> Any:
        return body() if body else 1

    @dg.op
    def load(rows: Any) -> Any:
        return rows

    @dg.graph_asset(name=key)
    def made() -> Any:
        return load(extract())

    return made


def run(instance: dg.DagsterInstance, *assets: Any, **options: Any) -> dg.ExecuteInProcessResult:
    """Run the assets for real; return the result, failed or not."""
    return dg.materialize(list(assets), instance=instance, raise_on_error=False, **options)


def queue(
    instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, **options: Any
) -> dg.DagsterRun:
    """Create a run and do not start it."""
    job = dg.Definitions(assets=list(assets)).resolve_implicit_global_asset_job_def()
    options.setdefault("asset_selection", {asset.key for asset in assets})
    return instance.create_run_for_job(job, **options)


def events_of(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> list[Any]:
    return [
        record.event_log_entry
        for record in instance.get_records_for_run(run_id, of_type=kind).records
    ]


def step_started(instance: dg.DagsterInstance, run_id: str, step: str) -> float:
    starts = events_of(instance, run_id, dg.DagsterEventType.STEP_START)
    return float(next(entry.timestamp for entry in starts if entry.step_key == step))


def made_at(instance: dg.DagsterInstance, key: str) -> float:
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    return event.timestamp
