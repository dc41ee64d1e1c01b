"""Groups: which of the assets that are due now go into the same run."""

from __future__ import annotations

from typing import NamedTuple

from freshline.model import AssetPlan, Graph, Plan

__all__ = ["RunGroup", "requested_groups"]


class RunGroup(NamedTuple):
    """Assets that are due now, for the same run."""

    assets: list[AssetPlan]
    parts: tuple[str, ...] = ()
    """The keys of the partitions that the run makes of each of them; (): they have none."""
    together: bool = False
    """Whether the parts are a range, from the first to the last."""


def requested_groups(plan: Plan, graph: Graph, location: str) -> list[RunGroup]:
    """Return the assets of `location` that are due now, a group for each run.

    In one run are assets whose plans say so, with the same partition to make, if Dagster can make
    them together: they have the same partitions, or none, and all are made or all observed.
    """
    groups: dict[object, RunGroup] = {}
    due = [
        asset
        for asset in plan.assets.values()
        if asset.request and graph.assets[asset.key].location == location
    ]
    for asset in sorted(due, key=lambda asset: asset.run):
        kind = asset.run, graph.assets[asset.key].launched_with, asset.together
        one_each = not asset.together and asset.parts
        for parts in [(part,) for part in asset.parts] if one_each else [asset.parts]:
            group = groups.setdefault((kind, parts), RunGroup([], parts, asset.together))
            group.assets.append(asset)
    return list(groups.values())
