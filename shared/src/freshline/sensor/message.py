"""The message of an idle tick: what is next, when, and how the targets stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from freshline.model import Graph, Plan, TargetPlan, TargetStatus
from freshline.planner import idle_message
from freshline.words import span

__all__ = ["tick_message"]

_SHOWN: Final = 5
"""More targets than this are counted, not listed."""


def tick_message(plan: Plan, graph: Graph, location: str, problems: Mapping[str, str]) -> str:
    """Return a few lines. `problems` has, by location, why its contract cannot be read."""
    return "\n".join(
        [
            idle_message(plan, location, graph),
            *_targets(plan),
            *(f"going on without {name}: {why}" for name, why in sorted(problems.items())),
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
