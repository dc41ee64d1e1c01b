"""How a target stands, from the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from freshline.contract import Contract
from freshline.model import Snapshot, TargetPlan
from freshline.planner import Ahead, Step
from freshline.status.document import HeldUpBy, Hop, NextStep, Target

__all__ = ["hops_to", "next_step_of", "owners_in", "target_of"]


def target_of(
    target: TargetPlan, snapshot: Snapshot, ahead: Ahead, owners: Sequence[str], now: float
) -> Target:
    """Return how `target` of the plan that `ahead` knows stands at `now` (UTC, epoch seconds)."""
    policy = ahead.lineage.policies[target.key]
    version = snapshot.state(target.key).version
    planned = ahead.plan.assets.get(target.key)
    blame = target.blame
    return Target(
        asset=target.key,
        location=target.location,
        owners=tuple(owners),
        status=target.status.value,
        # A plan that still holds may be older than now.
        lag_seconds=None if target.lag is None else target.lag + now - ahead.plan.now,
        maximum_lag_seconds=target.maximum,
        cron=policy.cron,
        timezone=policy.timezone,
        data_time=version.data_time if version else None,
        deadline=target.deadline,
        shortest_possible_seconds=target.shortest,
        measured=ahead.is_measured(target.key),
        reason=target.reason,
        held_up_by=None
        if blame is None
        else HeldUpBy(
            location=blame.location,
            asset=blame.asset,
            phase=blame.phase.value,
            since=blame.since,
            message=blame.message,
        ),
        next=next_step_of(ahead.next_step(target.key)),
        expected=planned.expected if planned else None,
        path=tuple(hops_to(target.key, ahead)),
        unchanged_since=target.unchanged_since,
        never_promised=dict(target.never_promised),
    )


def owners_in(contracts: Iterable[Contract]) -> Mapping[str, Sequence[str]]:
    """Return the owners of each asset of the `contracts` that has some, by key."""
    return {
        export.key: export.owners
        for contract in contracts
        for export in contract.exports
        if export.owners
    }


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
