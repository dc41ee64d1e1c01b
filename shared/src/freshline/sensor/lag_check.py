"""The state of a target, as the result of its asset check `maximum_lag`.

Dagster's UI shows the last result until there is another one, and greys it if it is older than the
newest version. So there is a result for each version, and whenever what it says would not be true
any more.
"""

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

from freshline.model import TargetPlan, TargetStatus, Version
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
from freshline.words import dated

__all__ = ["check_result", "lag_evaluation", "recorded_state"]

# An infeasible policy breaks nothing: somebody has to decide what to change.
_SEVERITY: Final = {
    TargetStatus.FRESH: AssetCheckSeverity.WARN,
    TargetStatus.INFEASIBLE: AssetCheckSeverity.WARN,
    TargetStatus.PAUSED: AssetCheckSeverity.WARN,
    TargetStatus.LATE: AssetCheckSeverity.ERROR,
    TargetStatus.BLOCKED: AssetCheckSeverity.ERROR,
}


def recorded_state(target: TargetPlan, version: Version | None) -> str:
    """Return how `target` stands, in words that change when there is something new to record.

    That is its status, and of one that is not fresh, what holds it up; its newest `version`; and
    until when that is good, which moves on while nothing changes upstream. A run that goes from
    phase to phase is nothing new.
    """
    blame = target.blame
    said = target.status.value
    if target.status is not TargetStatus.FRESH and blame is not None:
        doing = "moving" if blame.phase.moves else blame.phase.value
        said += f": {blame.location} {blame.asset} {doing}"
    if version is not None:
        said += f", version {version.id}"
    # Without a lag, the data are as new as can be at every moment, and so is the deadline.
    if target.lag and target.deadline is not None:
        said += f", good until {dated(target.deadline)}"
    return said


def lag_evaluation(target: TargetPlan, at: float) -> AssetCheckEvaluation:
    """Return the event that records outside any run how `target` stands at the time `at`."""
    return recorded(AssetKey.from_user_string(target.key), LAG_CHECK, check_result(target, at))


def check_result(target: TargetPlan, at: float) -> AssetCheckResult:
    """Return how `target` stands at the time `at`, in epoch seconds, as the result of its check.

    Whenever that is read, what it says was so at that time.
    """
    return AssetCheckResult(
        passed=target.status is TargetStatus.FRESH,
        severity=_SEVERITY[target.status],
        description=f"{dated(at)}: {target.reason}",
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
