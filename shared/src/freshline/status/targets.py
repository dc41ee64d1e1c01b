"""How a target stands, from the plan."""

from __future__ import annotations

from collections.abc import Iterator

from freshline.contract import Contract
from freshline.model import Blame, TargetPlan
from freshline.planner import Ahead, Step
from freshline.status.document import HeldUpBy, Hop, NextStep, Target

__all__ = ["hops_to", "next_step_of", "target_of"]


def target_of(target: TargetPlan, ahead: Ahead, contract: Contract) -> Target:
    """Return how `target` stands, which is one of the plan of `ahead` and of `contract`."""
    policy = ahead.lineage.policies[target.key]
    version = ahead.snapshot.state(target.key).version
    planned = ahead.plan.assets.get(target.key)
    return Target(
        asset=target.key,
        location=target.location,
        owners=contract.owners_of(target.key),
        status=target.status.value,
        # A plan that still holds may be older than now.
        lag_seconds=None if target.lag is None else target.lag + ahead.now - ahead.plan.now,
        maximum_lag_seconds=target.maximum,
        cron=policy.cron,
        timezone=policy.timezone,
        data_time=version.data_time if version else None,
        deadline=target.deadline,
        shortest_possible_seconds=target.shortest,
        measured=ahead.is_measured(target.key),
        reason=target.reason,
        held_up_by=_held_up_by(target.blame) if target.blame else None,
        next=next_step_of(ahead.next_step(target.key)),
        expected=planned.expected if planned else None,
        path=tuple(hops_to(target.key, ahead)),
        unchanged_since=target.unchanged_since,
        never_promised=dict(target.never_promised),
    )


def next_step_of(step: Step | None) -> NextStep | None:
    """Return `step` as a value of the document."""
    if step is None:
        return None
    return NextStep(
        asset=step.key,
        location=step.location,
        phase=step.phase.value,
        since=step.since,
        due=step.due,
    )


def hops_to(key: str, ahead: Ahead) -> Iterator[Hop]:
    """Yield the hops of the slowest way to the asset `key`, the root first."""
    path = ahead.path(key)
    whole = sum(hop.seconds for hop in path) or 1.0
    for hop in path:
        yield Hop(
            asset=hop.key,
            location=hop.location,
            seconds=round(hop.seconds, 3),
            share=round(hop.seconds / whole, 4),
        )


def _held_up_by(blame: Blame) -> HeldUpBy:
    return HeldUpBy(
        location=blame.location,
        asset=blame.asset,
        phase=blame.phase.value,
        since=blame.since,
        message=blame.message,
    )
