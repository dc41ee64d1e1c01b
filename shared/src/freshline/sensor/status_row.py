"""What a sensor writes into the instance: how the targets of its location stand."""

from __future__ import annotations

from freshline.contract import Contract
from freshline.planner import silent_locations
from freshline.sensor.outlook import Outlook
from freshline.status.locations import location_of
from freshline.status.rows import StatusRow
from freshline.status.targets import target_of

__all__ = ["status_row"]


def status_row(own: Contract, outlook: Outlook) -> StatusRow:
    """Return how the targets of the location with the contract `own` stand."""
    snapshot, now = outlook.snapshot, outlook.now
    silent = silent_locations(outlook.graph, snapshot, now)
    return StatusRow(
        location=location_of(own, snapshot, silent),
        at=now,
        tick=outlook.graph.tick(own.location, snapshot.ticks),
        plan=outlook.plan.id,
        published=tuple(sorted(it.location for it in outlook.contracts)),
        silent=tuple(silent),
        problems=dict(outlook.problems),
        targets=tuple(
            target_of(target, outlook.ahead, own) for target in outlook.targets_in(own.location)
        ),
    )
