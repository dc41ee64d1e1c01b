"""Turn the result of an asset check into the event by which a sensor records it."""

from __future__ import annotations

from dagster import AssetCheckEvaluation, AssetCheckResult, AssetKey

__all__ = ["recorded"]


def recorded(asset: AssetKey, check: str, result: AssetCheckResult) -> AssetCheckEvaluation:
    """Return the event that records `result` for the check named `check` on `asset`."""
    return AssetCheckEvaluation(
        asset_key=asset,
        check_name=check,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )
