"""A simulation of some hours of a graph, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from freshline.model import Asset, Capacity, Graph, Phase, TargetStatus
from freshline.simulate.figures import Figures, figures
from freshline.simulate.scenario import Scenario
from freshline.simulate.shortage import Shortage, places_taken, shortage_of
from freshline.simulate.world import World, simulate

__all__ = ["HOLDS", "Forecast", "forecast"]

HOLDS: Final = 0.001
"""A policy holds that is late for at most this share of the time."""

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
    taken: Mapping[str, tuple[float, int]]
    """How many slots or pool places runs take, on average, and how many there are; by pool, and the
    slots as "". What is not limited is left out."""
    shortages: Mapping[str, Shortage]
    """Of which of these there are too few, so that policies do not hold that could."""


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
    limits = scenario.capacity.limits
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
        taken={
            name: (places_taken(world, name, warm_up, end)[0], limit)
            for name, limit in limits.items()
        },
        shortages=_shortages(scenario, limits, _kept(world, warm_up), warm_up, end),
    )


def _kept(world: World, begin: float) -> AbstractSet[str]:
    """Return the targets that are in time from `begin` on."""
    late = figures(world, begin, world.now).targets
    return {key for key, one in late.items() if one.share <= HOLDS}


def _shortages(
    scenario: Scenario, limits: Mapping[str, int], kept: AbstractSet[str], begin: float, end: float
) -> dict[str, Shortage]:
    """Return of what there is too little for the targets that would hold without `limits`."""
    policies = {key for key, asset in scenario.graph.assets.items() if asset.policy}
    if not limits or kept >= policies:
        return {}
    free = simulate(replace(scenario, capacity=Capacity()), end)
    possible = _kept(free, begin)
    if kept >= possible:
        return {}

    def holds(capacity: Capacity) -> bool:
        return _kept(simulate(replace(scenario, capacity=capacity), end), begin) >= possible

    found = {
        name: shortage_of(name, limit, places_taken(free, name, begin, end), holds)
        for name, limit in limits.items()
    }
    return {name: shortage for name, shortage in found.items() if shortage}


def _in_1970(graph: Graph) -> Graph:
    """Return `graph` with time windows that begin before 1970 and do not end."""
    return replace(graph, assets={key: _dated(asset) for key, asset in graph.assets.items()})


def _dated(asset: Asset) -> Asset:
    if asset.windows is None:
        return asset
    windows = replace(asset.windows, start=_LONG_AGO, end=None)
    return replace(asset, windows=windows, promised_from=-windows.longest(0.0))
