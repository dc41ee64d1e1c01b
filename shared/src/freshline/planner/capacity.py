"""What limited slots and pools mean for the runs that the plan asks for."""

from __future__ import annotations

from collections.abc import Iterable

from freshline.model import AssetPlan

__all__ = ["priority_of"]


def priority_of(plans: Iterable[AssetPlan]) -> int:
    """Return the `dagster/priority` of a run of `plans`: by how many seconds it is late.

    0 means that it must start now; a negative number, that it may wait so many seconds. The most
    urgent asset counts. One without a version must start now.
    """
    return max(-round(asset_plan.slack or 0.0) for asset_plan in plans)
