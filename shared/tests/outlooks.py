"""Outlooks that tests make by hand, and instances on which locations have published contracts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from freshline.contract import (
    Contract,
    Export,
    Import,
    contract_materialization,
    heartbeat,
    read_contracts,
)
from freshline.history.tally import Work
from freshline.model import (
    Asset,
    Blame,
    Graph,
    Phase,
    Plan,
    Snapshot,
    TargetPlan,
    TargetStatus,
)
from freshline.names import INPUT_POINTER
from freshline.planner import Ahead, lineage_of
from freshline.planner.facts import facts_of
from freshline.policy import MaxLag
from freshline.sensor.outlook import Outlook
from freshline.stamp import data_time_metadata
from scenes import time_of

__all__ = ["NOW", "blame", "contract", "hear", "outlook_of", "publish", "report", "target"]

NOW = 1_800_000_000.0


def blame(asset: str, location: str, phase: Phase, since: float | None = NOW - 60.0) -> Blame:
    return Blame(location, asset, phase, since, f"{asset} is in the phase {phase.value}")


def target(
    key: str,
    status: TargetStatus = TargetStatus.FRESH,
    held_by: Blame | None = None,
    *,
    location: str = "marts",
    deadline: float | None = NOW + 100.0,
) -> TargetPlan:
    """Return a target with a maximum lag of five minutes, whose lag is 200 s."""
    late = status is TargetStatus.LATE
    return TargetPlan(
        key=key,
        location=location,
        status=status,
        lag=None if deadline is None else 200.0,
        maximum=300.0,
        deadline=NOW - 30.0 if late and deadline is not None else deadline,
        shortest=120.0,
        blame=held_by,
        reason=f"{key} is {status.value}",
    )


def outlook_of(
    *targets: TargetPlan,
    now: float = NOW,
    contracts: Iterable[Contract] = (),
    seen: Mapping[str, float] | None = None,
    problems: Mapping[str, str] | None = None,
    work: Mapping[str, Work] | None = None,
) -> Outlook:
    """Return the outlook in which these targets stand so."""
    given = tuple(contracts)
    heard = dict(seen or {contract.location: now - 20.0 for contract in given})
    assets = {it.key: Asset(it.key, it.location, policy=MaxLag(5)) for it in targets}
    snapshot = Snapshot({}, seen=heard, since=dict.fromkeys(heard, now - 3_600.0))
    lineage = lineage_of(Graph(assets, ticks=dict.fromkeys(heard, 5.0)))
    plan = Plan("a plan", now, {}, {it.key: it for it in targets})
    return Outlook(
        ahead=Ahead(lineage, snapshot, plan, facts_of(lineage, snapshot, now)),
        published={},
        problems=dict(problems or {}),
        contracts=given,
        replaced={},
        digest="digest",
        work=dict(work or {}),
    )


def contract(location: str, *exports: Export, tick: float = 5.0) -> Contract:
    """Return a contract whose imports are what its assets need and it does not make."""
    own = {export.key for export in exports}
    needed = sorted({dep for export in exports for dep in export.deps} - own)
    return Contract(
        location=location,
        published_as=location,
        tick_seconds=tick,
        exports=exports,
        imports=tuple(
            Import(key=key, used_by=tuple(it.key for it in exports if key in it.deps))
            for key in needed
        ),
    )


def publish(instance: dg.DagsterInstance, published: Contract, *, ago: float = 0.0) -> None:
    """Publish a contract as its location would, so many seconds ago."""
    _report_at(instance, contract_materialization(published), time.time() - ago)


def report(
    instance: dg.DagsterInstance, key: str, *, ago: float = 0.0, inputs: Iterable[str] = ()
) -> None:
    """Report a version of an asset, made so many seconds ago from the newest versions of `inputs`.

    Without inputs, its data was read at that time.
    """
    at = time.time() - ago
    ids = {
        name: instance.fetch_materializations(_path(name), limit=1).records[0].storage_id
        for name in inputs
    }
    event = dg.AssetMaterialization(
        _path(key),
        metadata={} if ids else data_time_metadata(datetime.fromtimestamp(at, UTC)),
        tags={f"{INPUT_POINTER}{name}": str(id_) for name, id_ in ids.items()},
    )
    _report_at(instance, event, at)


def hear(instance: dg.DagsterInstance, location: str) -> None:
    """Let a location give a sign of life."""
    instance.report_runless_asset_event(heartbeat(read_contracts(instance)[location]))


def _path(key: str) -> dg.AssetKey:
    return dg.AssetKey(key.split("/"))


def _report_at(instance: dg.DagsterInstance, event: Any, at: float) -> None:
    with time_of(lambda: at):
        instance.report_runless_asset_event(event)
