"""A simulation of some hours of a graph, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from freshline.model import Asset, Graph, Phase, TargetStatus
from freshline.simulate.figures import Figures, figures
from freshline.simulate.scenario import Scenario
from freshline.simulate.world import simulate

__all__ = ["Forecast", "forecast"]

_LONG_AGO: Final = -366 * 86_400.0
_ONE_KEY: Final = "one of them"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a graph's policies would cost, and whether they would hold."""

    figures: Figures
    maximum: Mapping[str, float]
    """The policy of each target, in seconds."""
    shortest: Mapping[str, float]
    """The smallest policy that each target could hold, in seconds."""
    infeasible: frozenset[str]
    """Targets whose policy is shorter than that."""
    blocked: Mapping[str, str]
    """Targets that need what is never requested, each with the reason."""
    in_part: Mapping[str, str]
    """Assets that some target needs and of which only a part was simulated, with what that is."""


def forecast(scenario: Scenario, hours: float) -> Forecast:
    """Simulate `hours` of `scenario`, after a warm-up of twice the longest policy or an hour.

    It takes place in the first days of 1970. Time windows are taken to have begun before that and
    not to end; at first, the last partition that has closed is missing. Of dynamic partitions,
    which only the Dagster instance knows, there is one.
    """
    dynamic = {
        key: asset.keys.dynamic
        for key, asset in scenario.graph.assets.items()
        if asset.keys and asset.keys.dynamic
    }
    scenario = replace(
        scenario,
        graph=_in_1970(scenario.graph),
        dynamic=dict.fromkeys(dynamic.values(), (_ONE_KEY,)),
    )
    policies = [asset.policy for asset in scenario.graph.assets.values() if asset.policy]
    warm_up = max([3600.0, *(policy.minutes * 120.0 for policy in policies)])
    end = warm_up + hours * 3600.0
    world = simulate(scenario, end)
    targets = world.plan().targets
    return Forecast(
        figures=figures(world, warm_up, end),
        maximum={key: target.maximum for key, target in targets.items()},
        shortest={key: target.shortest or 0.0 for key, target in targets.items()},
        infeasible=frozenset(
            key for key, target in targets.items() if target.status is TargetStatus.INFEASIBLE
        ),
        blocked={
            key: target.blame.message
            for key, target in targets.items()
            if target.blame and target.blame.phase in (Phase.UNSCHEDULED, Phase.UNKNOWN)
        },
        in_part={
            key: f"simulated with one partition; only the instance knows how many {name} has"
            for key, name in dynamic.items()
            if key in world.lineage.inputs
        },
    )


def _in_1970(graph: Graph) -> Graph:
    """Return `graph` with time windows that begin before 1970 and do not end."""
    return replace(graph, assets={key: _dated(asset) for key, asset in graph.assets.items()})


def _dated(asset: Asset) -> Asset:
    if asset.windows is None:
        return asset
    windows = replace(asset.windows, start=_LONG_AGO, end=None)
    return replace(asset, windows=windows, promised_from=-windows.longest(0.0))
