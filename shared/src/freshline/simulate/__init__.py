"""The planner on a virtual clock: what would these policies cost, and can they be held?"""

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
