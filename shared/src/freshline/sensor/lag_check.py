"""The state of a target, as the result of its asset check `maximum_lag`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    MetadataValue,
)

from freshline.model import TargetPlan, TargetStatus
from freshline.names import (
    DEADLINE,
    HELD_UP_ASSET,
    HELD_UP_BY,
    HELD_UP_LOCATION,
    HELD_UP_PHASE,
    HELD_UP_SINCE,
    LAG_CHECK,
    LAG_SECONDS,
    MAXIMUM_LAG_SECONDS,
    NEVER_PROMISED,
    SHORTEST_POSSIBLE_SECONDS,
    STATUS,
    UNCHANGED_SINCE,
)
from freshline.sensor.record import recorded

__all__ = ["check_result", "lag_evaluation", "recorded_state"]

# An infeasible policy breaks nothing: somebody has to decide what to change.
_SEVERITY: Final = {
    TargetStatus.FRESH: AssetCheckSeverity.WARN,
    TargetStatus.INFEASIBLE: AssetCheckSeverity.WARN,
    TargetStatus.PAUSED: AssetCheckSeverity.WARN,
    TargetStatus.LATE: AssetCheckSeverity.ERROR,
    TargetStatus.BLOCKED: AssetCheckSeverity.ERROR,
}


def recorded_state(target: TargetPlan) -> str:
    """Return how `target` stands, in words that change when there is something new to record.

    That is its status, and of one that is not fresh, what holds it up. A run that goes from phase
    to phase is nothing new.
    """
    blame = target.blame
    if target.status is TargetStatus.FRESH or blame is None:
        return target.status.value
    doing = "moving" if blame.phase.moves else blame.phase.value
    return f"{target.status.value}: {blame.location} {blame.asset} {doing}"


def lag_evaluation(target: TargetPlan) -> AssetCheckEvaluation:
    """Return the event that records the state of `target` outside any run."""
    return recorded(AssetKey.from_user_string(target.key), LAG_CHECK, check_result(target))


def check_result(target: TargetPlan) -> AssetCheckResult:
    """Return the state of `target` as the result of its check."""
    return AssetCheckResult(
        passed=target.status is TargetStatus.FRESH,
        severity=_SEVERITY[target.status],
        description=target.reason,
        metadata=_metadata(target),
    )


def _metadata(target: TargetPlan) -> dict[str, Any]:
    facts: dict[str, Any] = {
        STATUS: target.status.value,
        LAG_SECONDS: target.lag,
        MAXIMUM_LAG_SECONDS: target.maximum,
        SHORTEST_POSSIBLE_SECONDS: target.shortest,
        DEADLINE: _timestamp(target.deadline),
        UNCHANGED_SINCE: _timestamp(target.unchanged_since),
        NEVER_PROMISED: dict(target.never_promised) or None,
    }
    if target.blame is not None:
        facts |= {
            HELD_UP_BY: target.blame.message,
            HELD_UP_LOCATION: target.blame.location,
            HELD_UP_ASSET: target.blame.asset,
            HELD_UP_PHASE: target.blame.phase.value,
            HELD_UP_SINCE: _timestamp(target.blame.since),
        }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _timestamp(time: float | None) -> Any:
    if time is None:
        return None
    return MetadataValue.timestamp(datetime.fromtimestamp(time, UTC))
