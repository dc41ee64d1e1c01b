"""What a sensor keeps in the instance: how the targets of its location stand."""

from __future__ import annotations

from freshline.contract import Contract
from freshline.planner import silent_locations
from freshline.sensor.outlook import Outlook
from freshline.status.kept import Kept
from freshline.status.locations import location_of
from freshline.status.targets import owners_in, target_of

__all__ = ["standing_of"]


def standing_of(own: Contract, outlook: Outlook) -> Kept:
    """Return how the targets of the location with the contract `own` stand."""
    plan, snapshot, now = outlook.plan, outlook.snapshot, outlook.now
    owners = owners_in([own])
    silent = silent_locations(outlook.graph, snapshot, now)
    return Kept(
        location=location_of(own, snapshot, silent),
        at=now,
        tick=outlook.graph.tick(own.location, snapshot.ticks),
        plan=plan.id,
        published=tuple(sorted(it.location for it in outlook.contracts)),
        silent=tuple(silent),
        problems=dict(outlook.problems),
        targets=tuple(
            target_of(target, snapshot, outlook.ahead, owners.get(key, ()), now)
            for key, target in plan.targets.items()
            if target.location == own.location
        ),
    )
