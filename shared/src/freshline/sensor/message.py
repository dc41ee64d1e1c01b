"""The message of an idle tick: what is next, when, and how the targets stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from freshline.model import AssetPlan, Plan, TargetPlan, TargetStatus
from freshline.planner import idle_message
from freshline.sensor.outlook import Outlook
from freshline.words import span

__all__ = ["tick_message"]

_SHOWN: Final = 5
"""More targets than this are counted, not listed."""


def tick_message(
    outlook: Outlook,
    location: str,
    requested: Sequence[Sequence[AssetPlan]],
    refused_checks: Mapping[str, str],
) -> str:
    """Return a few lines for people.

    `requested` are the assets that are due now: in a location that only observes, they are what it
    would request. `refused_checks` has, by check, why Dagster refuses to run it.
    """
    observes = location in outlook.graph.observers
    due = [asset for group in requested for asset in group]
    first = idle_message(outlook.plan, location, outlook.graph)
    if observes:
        first = f"observes only; {first}" if not due else "observes only; it would request:"
    return "\n".join(
        [
            first,
            *(f"{asset.key}: {asset.reason}" for asset in due[:_SHOWN]),
            *_targets(outlook.plan),
            *(f"{check} does not run: {why}" for check, why in sorted(refused_checks.items())),
            *(f"going on without {name}: {why}" for name, why in sorted(outlook.problems.items())),
            *(sentence for _, sentence in sorted(outlook.replaced.items())),
        ]
    )


def _targets(plan: Plan) -> Iterator[str]:
    targets = sorted(plan.targets.values(), key=_urgency)
    for target in targets[:_SHOWN]:
        lag = "unknown" if target.lag is None else span(target.lag)
        standing = f"{target.status.value}, lag {lag} of {span(target.maximum)}"
        yield f"{target.key}: {standing}; {target.reason}"
    if len(targets) > _SHOWN:
        fresh = sum(target.status is TargetStatus.FRESH for target in targets)
        yield f"{len(targets)} targets in all, {fresh} fresh"


def _urgency(target: TargetPlan) -> tuple[bool, float, str]:
    deadline = float("inf") if target.deadline is None else target.deadline
    return target.status is TargetStatus.FRESH, deadline, target.key
