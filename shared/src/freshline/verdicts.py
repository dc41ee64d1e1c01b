"""Verdicts: what became of a target, as the result of its asset check `maximum_lag`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    MetadataValue,
)

from freshline.model import TargetPlan, TargetStatus

__all__ = ["CHECK_NAME", "check_result", "evaluation"]

CHECK_NAME: Final = "maximum_lag"

# An infeasible policy is a promise nobody can keep: nothing is broken, somebody has to decide.
_SEVERITY: Final = {
    TargetStatus.FRESH: AssetCheckSeverity.WARN,
    TargetStatus.INFEASIBLE: AssetCheckSeverity.WARN,
    TargetStatus.LATE: AssetCheckSeverity.ERROR,
    TargetStatus.BLOCKED: AssetCheckSeverity.ERROR,
}


def evaluation(target: TargetPlan) -> AssetCheckEvaluation:
    """The event that records a target's state, outside any run."""
    return AssetCheckEvaluation(
        asset_key=AssetKey.from_user_string(target.key),
        check_name=CHECK_NAME,
        passed=target.status is TargetStatus.FRESH,
        severity=_SEVERITY[target.status],
        description=target.reason,
        metadata=_metadata(target),
    )


def check_result(target: TargetPlan) -> AssetCheckResult:
    """The same as the answer of the check itself, when somebody runs it by hand."""
    return AssetCheckResult(
        asset_key=AssetKey.from_user_string(target.key),
        check_name=CHECK_NAME,
        passed=target.status is TargetStatus.FRESH,
        severity=_SEVERITY[target.status],
        description=target.reason,
        metadata=_metadata(target),
    )


def _metadata(target: TargetPlan) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "freshline/status": target.status.value,
        "freshline/lag_seconds": target.lag,
        "freshline/maximum_lag_seconds": target.maximum,
        "freshline/shortest_possible_seconds": target.shortest,
        "freshline/deadline": _moment(target.deadline),
    }
    if target.blame is not None:
        facts |= {
            "freshline/held_up_by": target.blame.message,
            "freshline/held_up_location": target.blame.location,
            "freshline/held_up_asset": target.blame.asset,
            "freshline/held_up_phase": target.blame.phase,
            "freshline/held_up_since": _moment(target.blame.since),
        }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _moment(moment: float | None) -> Any:
    if moment is None:
        return None
    return MetadataValue.timestamp(datetime.fromtimestamp(moment, timezone.utc))
