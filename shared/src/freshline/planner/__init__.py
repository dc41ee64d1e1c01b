"""The planner decides what to request now, when the rest is next due, for which target, and why.

A pure function of the lineage (what the contracts say), a snapshot (what the event log says)
and the time. The same three give the same plan, whichever location works it out.

What it guarantees, once durations were measured:

- If they are steady, a policy that its path can hold is never late, whatever the number of roots.
- What is made from several roots is made once a cycle of its target, not once for each root. The
  roots come together: one that is due later comes early, where that costs less work than it spares.
- Nothing is requested that would change nothing, and no asset runs twice at a time.
- A policy that cannot be held has the shortest lag that its slowest run allows, and is reported
  with it. It sets no other target's pace.
- Where run slots or pools are limited, the most urgent run in all locations goes first. No wait for
  a slot or a place is learnt as a duration.

What it does not guarantee:

- That targets are never late where durations vary. Each run starts early enough for 984 paths in
  1,000; about one cycle in a hundred is late, by seconds. Where an asset has durations of two kinds
  (a sync that now and then reads everything), targets are late for 0.2 to 1% of the time.
- That a change is known at once: durations that have changed are noticed after some three runs,
  during which targets can be late.
- The fewest runs that could be. They are within some percent of the best schedule known, and roots
  need some cycles until they come together: bench/README.md has what was measured.
- That no target is late while slots are too few, something fails, or a location is down.

What happens when something cannot run:

- A failed asset is tried again after 30 s, 60 s, ... 15 min. Assets that do not need it go on.
- A location that was not heard of for three heartbeats is silent: its targets are blocked. The
  inputs of its assets are made until one unused version of each waits, and then not again until
  the location is back. Then a version that is still good enough is used at once, and one that is
  too old is made again first, so that each asset runs once. `freshline retire` takes a location
  that is gone for good out of the graph.
- A policy that cannot be held is reported, with the shortest maximum lag that could be. It is
  served as if it asked for what its runs take on average: the slowest asset on its path runs back
  to back, and the others about as often.
- A dependency that no contract explains blocks everything downstream of it. Five minutes after
  its consumer's contract appeared, it is called dangling.
- A partition that failed is tried again with the same pauses. The others are made all the same;
  only the data time of the asset does not go beyond the hole.
- Some assets are never requested: those that somebody else makes, those that Dagster cannot launch
  as they are, those of a location that only observes. Versions of them count, whoever makes them.
- A paused location requests nothing. Nothing is requested for a paused target.
- Where run slots or pools are limited, runs that would be in each other's way start earlier, and no
  more is requested than there is room for, the most urgent first in all locations. So a queue never
  grows. If there is too little room for all policies, targets are late, and say that they wait for
  a slot or a pool. It does not make a policy infeasible: that depends on durations alone.

Read it in this order: `lineage` (the graph), `estimate` (durations), `facts` (the present),
`claims` (what a target asks of an asset upstream), `meetings` (which inputs come early, to come
together), `demand` (all claims, carried from the targets to the roots), `parts` (which partitions
could be made), `capacity` (what limited slots and pools mean for starts), `known` (questions about
all that), `votes` (what an asset needs now), `companions` (which roots start with others),
`decisions` (what starts now), `blame` and `report` (what people read), `groups` (what goes into the
same run). `moments` sums up measured durations, `deadlines` applies policies to data times, and
`shortest_lag` works out the shortest maximum lag that a path could hold. `ahead` says where one
asset stands on its way, and what it waits for, to whoever asks.
"""

from __future__ import annotations

from freshline.model import Plan, Snapshot
from freshline.planner.ahead import Ahead, Hop, Need, Step
from freshline.planner.blame import DANGLING_AFTER
from freshline.planner.capacity import hold_back, priority_of, room_of, urgencies_of
from freshline.planner.deadlines import next_tick
from freshline.planner.decisions import decisions_of
from freshline.planner.demand import claims_of
from freshline.planner.estimate import DEFAULT_DURATIONS, MARGIN
from freshline.planner.facts import (
    RETRY_CEILING,
    RETRY_FIRST,
    SILENT_AFTER,
    facts_of,
    is_silent,
    silent_locations,
)
from freshline.planner.groups import RunGroup, requested_groups
from freshline.planner.lineage import Lineage, lineage_of
from freshline.planner.report import (
    asset_plans,
    idle_message,
    plan_id,
    target_plans,
)
from freshline.planner.shortest_lag import ShortestLag, shortest_lags

__all__ = [
    "DANGLING_AFTER",
    "DEFAULT_DURATIONS",
    "MARGIN",
    "RETRY_CEILING",
    "RETRY_FIRST",
    "SILENT_AFTER",
    "Ahead",
    "Hop",
    "Lineage",
    "Need",
    "RunGroup",
    "ShortestLag",
    "Step",
    "idle_message",
    "is_silent",
    "lineage_of",
    "look_ahead",
    "next_tick",
    "plan",
    "priority_of",
    "requested_groups",
    "shortest_lags",
    "silent_locations",
]


def plan(lineage: Lineage, snapshot: Snapshot, now: float) -> Plan:
    """Return the plan for all assets and targets in `lineage` at `now` (UTC, epoch seconds).

    The caller makes the lineage with `lineage_of`, and keeps it as long as no contract changes.
    """
    return look_ahead(lineage, snapshot, now).plan


def look_ahead(lineage: Lineage, snapshot: Snapshot, now: float) -> Ahead:
    """Return the plan that `plan` returns, for those who want to know more about some assets."""
    facts = facts_of(lineage, snapshot, now)
    claims = claims_of(lineage, facts)
    room = room_of(lineage, facts, snapshot)
    decisions = decisions_of(lineage, facts, claims, urgencies_of(lineage, facts, claims, room))
    hold_back(lineage, facts, decisions, room)
    assets, targets = asset_plans(facts, decisions), target_plans(lineage, facts, decisions)
    made = Plan(
        id=plan_id(lineage, snapshot),
        now=now,
        assets=assets,
        targets=targets,
        until=min(facts.until, _next_date(lineage, now)),
    )
    return Ahead(lineage, snapshot, made, facts)


def _next_date(lineage: Lineage, now: float) -> float:
    """Return when a date may begin, so that times are written otherwise, and crons looked at anew.

    In every time zone, days begin at a quarter of an hour in UTC.
    """
    elsewhere = any(policy.timezone for policy in lineage.policies.values())
    length = 900.0 if elsewhere else 86_400.0
    return (now // length + 1.0) * length
