"""A simulation of some hours of a graph, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from freshline.model import Phase, TargetStatus
from freshline.simulate.figures import Figures, figures
from freshline.simulate.world import Scenario, simulate

__all__ = ["Forecast", "forecast"]


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


def forecast(scenario: Scenario, hours: float) -> Forecast:
    """Simulate `hours` of `scenario`, after a warm-up of twice the longest policy or an hour."""
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
    )
