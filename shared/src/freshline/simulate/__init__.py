"""What would these policies cost, and would they hold?

`scenario` says what happens to a workspace and `world` lets it happen: it runs the planner on a
virtual clock. `record`, `partitions` and `data` keep what a history would report. `figures`
measures what came of it, `forecast` does all of it for a graph, and `what_if` changes the policies
of a graph.
"""

from __future__ import annotations

from freshline.simulate.figures import Figures, Lateness, figures
from freshline.simulate.scenario import (
    Change,
    Duration,
    EitherDuration,
    Fault,
    Feed,
    NothingToMake,
    Outage,
    Quiet,
    Scenario,
    Uniform,
)
from freshline.simulate.world import ByPlan, Request, Run, Scheduler, World, simulate

__all__ = [
    "ByPlan",
    "Change",
    "Duration",
    "EitherDuration",
    "Fault",
    "Feed",
    "Figures",
    "Lateness",
    "NothingToMake",
    "Outage",
    "Quiet",
    "Request",
    "Run",
    "Scenario",
    "Scheduler",
    "Uniform",
    "World",
    "figures",
    "simulate",
]
