"""What would these policies cost, and would they hold?

`world` runs the planner on a virtual clock, `figures` measures what came of it, `forecast` does
both for a graph, and `what_if` changes the policies of a graph.
"""

from __future__ import annotations

from freshline.simulate.figures import Figures, Lateness, figures
from freshline.simulate.world import (
    ByPlan,
    Duration,
    Fault,
    Outage,
    Run,
    Scenario,
    Scheduler,
    World,
    simulate,
)

__all__ = [
    "ByPlan",
    "Duration",
    "Fault",
    "Figures",
    "Lateness",
    "Outage",
    "Run",
    "Scenario",
    "Scheduler",
    "World",
    "figures",
    "simulate",
]
