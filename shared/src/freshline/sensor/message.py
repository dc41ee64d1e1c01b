"""The message of an idle tick: what is next, when, and how the targets stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import nsmallest
from math import inf
from typing import Final

from freshline.model import AssetPlan, Graph, Plan, TargetPlan, TargetStatus
from freshline.planner import RunGroup, idle_message
from freshline.sensor.outlook import Outlook
from freshline.words import span

__all__ = ["tick_message"]

_SHOWN: Final = 5
"""More targets than this are counted, not listed."""


def tick_message(
    outlook: Outlook,
    location: str,
    requested: Iterable[RunGroup],
    refused: Mapping[str, str],
    unwritten: str = "",
) -> str:
    """Return a few lines for people.

    `requested` are the assets that are due now: in a location that only observes, they are what it
    would request. `refused` has, by check or partition, why Dagster refuses to run it. `unwritten`
    says why the location's status row could not be written; "": it was.
    """
    observes = location in outlook.graph.observers
    due = list({asset.key: asset for group in requested for asset in group.assets}.values())
    first = idle_message(outlook.plan, location, outlook.lineage, outlook.now)
    if observes:
        first = f"observes only; {first}" if not due else "observes only; it would request:"
    return "\n".join(
        [
            first,
            *_slow_ticks(outlook, location),
            *(f"{_named(asset)}: {asset.reason}" for asset in due[:_SHOWN]),
            *_targets(outlook.plan, outlook.graph, outlook.now),
            *(f"{name} does not run: {why}" for name, why in sorted(refused.items())),
            *(f"going on without {name}: {why}" for name, why in sorted(outlook.problems.items())),
            *(sentence for _, sentence in sorted(outlook.replaced.items())),
            *_without_row(unwritten),
        ]
    )


def _named(asset: AssetPlan) -> str:
    """Return an asset with its partitions, as in `raw/orders 2026-11-28 (and 2 more)`."""
    if not asset.parts:
        return asset.key
    more = f" (and {len(asset.parts) - 1} more)" if asset.parts[1:] else ""
    return f"{asset.key} {asset.parts[0]}{more}"


def _slow_ticks(outlook: Outlook, location: str) -> Iterator[str]:
    tick = outlook.snapshot.ticks.get(location)
    if tick is not None:
        asked = span(outlook.graph.tick(location))
        yield f"ticks are {span(tick)} apart, not {asked}: Dagster's daemon has too much to do"


def _without_row(why: str) -> Iterator[str]:
    if why:
        yield (
            "how its targets stand could not be written, so freshline status takes longer: "
            f"{why}; run the SQL of `freshline roles instance` again"
        )


def _targets(plan: Plan, graph: Graph, now: float) -> Iterator[str]:
    targets = plan.targets.values()
    for target in nsmallest(_SHOWN, targets, key=_urgency):
        lag = "unknown" if target.lag is None else span(target.lag + now - plan.now)
        policy = graph.assets[target.key].policy
        at_ticks = " at the ticks of its cron" if policy and policy.cron else ""
        standing = f"{target.status.value}, lag {lag} of {span(target.maximum)}{at_ticks}"
        yield f"{target.key}: {standing}; {target.reason}"
    if len(targets) > _SHOWN:
        fresh = sum(target.status is TargetStatus.FRESH for target in targets)
        yield f"{len(targets)} targets in all, {fresh} fresh"


def _urgency(target: TargetPlan) -> tuple[bool, float, str]:
    deadline = inf if target.deadline is None else target.deadline
    return target.status is TargetStatus.FRESH, deadline, target.key
