"""Grace: for how long is a target not called blocked while contracts arrive one by one?"""

from __future__ import annotations

from typing import Final

from freshline.model import Phase, TargetPlan, TargetStatus
from freshline.planner import DANGLING_AFTER
from freshline.sensor.outlook import Outlook

__all__ = ["SETTLING", "in_grace"]

SETTLING: Final = 15.0
"""Seconds without a changed contract after which all contracts are checked together."""


def in_grace(target: TargetPlan, outlook: Outlook) -> bool:
    """Return whether `target` is blocked only because contracts arrive one by one at start-up."""
    blame = target.blame
    if target.status is not TargetStatus.BLOCKED or blame is None:
        return False
    if blame.phase is Phase.UNSCHEDULED:
        return outlook.now - outlook.changed_at <= SETTLING
    return (
        blame.phase is Phase.UNKNOWN
        and blame.since is not None
        and outlook.now - blame.since <= DANGLING_AFTER
    )
