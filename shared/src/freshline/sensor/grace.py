"""Grace: for how long is nothing judged by contracts that arrive one by one?"""

from __future__ import annotations

from typing import Final

from freshline.model import Phase, TargetPlan, TargetStatus
from freshline.planner import DANGLING_AFTER
from freshline.sensor.outlook import Outlook

__all__ = ["has_settled", "in_grace"]

_SETTLING: Final = 15.0
"""Seconds without a changed contract after which all contracts are judged together."""


def has_settled(outlook: Outlook) -> bool:
    """Return whether no contract has changed for some time, so that all are judged together."""
    return outlook.changed_at + _SETTLING <= outlook.now


def in_grace(target: TargetPlan, outlook: Outlook) -> bool:
    """Return whether `target` is blocked only because contracts arrive one by one at start-up."""
    blame = target.blame
    if target.status is not TargetStatus.BLOCKED or blame is None:
        return False
    if blame.phase is Phase.UNSCHEDULED:
        return not has_settled(outlook)
    return (
        blame.phase is Phase.UNKNOWN
        and blame.since is not None
        and outlook.now - blame.since <= DANGLING_AFTER
    )
