"""The planner: what to request now, when the rest is next due, for which target, and why.

A pure function of the lineage (what the contracts say), a snapshot (what the event log says)
and the time. The same three give the same plan, whichever location works it out.

What happens when something cannot run:

- A failed asset is tried again after 30 s, 60 s, ... 15 min. What does not need it goes on.
- A location that was not heard of for three heartbeats is silent: its targets are blocked, and
  nothing of it is expected. Its policies pull upstream work until every input that waits for it
  has one unused version, and then no more, however long the outage. When it is back, inputs
  that are still good enough are used at once; otherwise they are renewed first, so that there is
  one run an asset. `freshline retire` takes a location that is gone for good out of the graph.
- A policy that cannot be held is reported with the figure that could be, and served as fast as
  the slowest asset on its path allows, one version ahead at most.
- A dependency that nobody explains blocks what is downstream of it, and is called dangling
  five minutes after its consumer's contract appeared.

Read it in this order: `lineage` (the graph), `estimate` (durations), `facts` (the present),
`claims` (what targets ask of their sources), `decisions` (who starts now), `report` (words).
`moments` is how measured durations are remembered, `deadlines` how policies are read, `shortest`
what a path could hold at best.
"""

from __future__ import annotations

from freshline.model import Plan, Snapshot
from freshline.planner.claims import claims_of
from freshline.planner.deadlines import next_tick
from freshline.planner.decisions import decisions_of
from freshline.planner.estimate import DEFAULT_DURATIONS, MARGIN
from freshline.planner.facts import RETRY_CEILING, RETRY_FIRST, SILENT_AFTER, facts_of
from freshline.planner.lineage import Lineage, lineage_of
from freshline.planner.report import (
    DANGLING_AFTER,
    asset_plans,
    idle_message,
    plan_id,
    target_plans,
)
from freshline.planner.shortest import ShortestLag, shortest_lags

__all__ = [
    "DANGLING_AFTER",
    "DEFAULT_DURATIONS",
    "MARGIN",
    "RETRY_CEILING",
    "RETRY_FIRST",
    "SILENT_AFTER",
    "Lineage",
    "ShortestLag",
    "idle_message",
    "lineage_of",
    "next_tick",
    "plan",
    "shortest_lags",
]


def plan(lineage: Lineage, snapshot: Snapshot, now: float) -> Plan:
    """Return what every asset and every target of `lineage` is to do at `now`.

    `now` is UTC in epoch seconds. Whoever plans makes the lineage by `lineage_of` and keeps it
    for as long as no contract changes.
    """
    facts = facts_of(lineage, snapshot, now)
    claims = claims_of(lineage, facts)
    decisions = decisions_of(lineage, facts, claims)
    return Plan(
        id=plan_id(lineage, snapshot),
        now=now,
        assets=asset_plans(lineage, decisions, now),
        targets=target_plans(lineage, facts, decisions),
    )
