"""What the targets ask of each asset, carried upstream from target to root.

A *claim* says: for this target, a version of the asset is good until the target's deadline
for it; its successor must start early enough to get through the rest of the path by then.
Claims meet where lineages meet, and only those that can be the most urgent are kept, so that
the work grows with the graph and not with the number of pairs.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from freshline.model import Graph
from freshline.planner.deadlines import deadline
from freshline.planner.estimate import Span, allowance
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage
from freshline.policy import MaxLag

__all__ = ["Claim", "Urgency", "claims_of", "feasible", "urgency"]

_KEPT: Final = 4


class Claim(NamedTuple):
    target: str
    policy: MaxLag
    path: Span
    """From the start of a run of the asset until the target is materialized."""
    allowed: float
    """The allowance of `path`, in seconds."""
    feasible: bool

    def latest_start(self, data: float) -> float:
        """When the successor of a version of that data time must start for this target."""
        return deadline(self.policy, data) - self.allowed


class Urgency(NamedTuple):
    """The claim that must be served first."""

    latest_start: float
    deadline: float | None
    claim: Claim | None


def urgency(claims: tuple[Claim, ...], data: float | None) -> Urgency:
    """The most urgent of `claims` on an asset whose current version has that data time."""
    if not claims:
        return Urgency(inf, None, None)
    if data is None:
        return Urgency(-inf, None, min(claims, key=_tightness))
    claim = claims[0]
    latest = claim.latest_start(data)
    for other in claims[1:]:
        start = other.latest_start(data)
        if start < latest:
            latest, claim = start, other
    return Urgency(latest, latest + claim.allowed, claim)


def feasible(facts: Facts, target: str, policy: MaxLag) -> bool:
    """Whether the path could hold the policy. Until every asset on it was measured: yes."""
    if not facts.routes[target].measured:
        return True
    return facts.shortest(target) <= policy.minutes * 60.0


def claims_of(lineage: Lineage, facts: Facts) -> dict[str, tuple[Claim, ...]]:
    """The claims on every asset that some target needs."""
    asked: dict[str, list[Claim]] = {}
    claims: dict[str, tuple[Claim, ...]] = {}
    graph: Graph = lineage.graph
    for unit in reversed(lineage.units):
        for key in unit.keys:
            run = facts.stages[key].run
            found = [_from_start(claim, run) for claim in asked.pop(key, ())]
            policy = graph.assets[key].policy
            if policy:
                able = feasible(facts, key, policy)
                found.append(Claim(key, policy, run, allowance(run), able))
            claims[key] = kept = _most_urgent(found)
            if unit.obstacle or not unit.schedulable:
                continue  # its inputs would be made for nothing
            wait = facts.stages[key].wait
            passed_on = [claim._replace(path=wait.then(claim.path)) for claim in kept]
            for name in lineage.inputs[key]:
                asked.setdefault(name, []).extend(_carried(facts, passed_on, name, key))
    return claims


def _from_start(claim: Claim, run: Span) -> Claim:
    path = run.then(claim.path)
    return claim._replace(path=path, allowed=allowance(path))


def _carried(facts: Facts, claims: list[Claim], name: str, consumer: str) -> list[Claim]:
    """The claims on `consumer` that are claims on its input `name`, too.

    As long as the consumer cannot use what it is given, one version waiting for it is enough:
    work that waits for a silent location or a failing asset has a use once, not every few
    minutes, and a policy that cannot be held is served at the pace of its slowest stage.
    """
    if not facts.waits_unused(name, consumer):
        return claims
    if consumer in facts.held:
        return []
    return [claim for claim in claims if claim.feasible]


def _most_urgent(claims: list[Claim]) -> tuple[Claim, ...]:
    """Without those that another one of the same kind makes superfluous.

    A claim is superfluous when another leaves less time on average and varies more: then it
    is the less urgent of the two, here and everywhere upstream.
    """
    if len(claims) <= 1:
        return tuple(claims)
    kinds: dict[object, list[Claim]] = {}
    for claim in claims:
        policy = claim.policy
        kind = (claim.feasible, policy if policy.cron else None)
        kinds.setdefault(kind, []).append(claim)
    kept: list[Claim] = []
    for alike in kinds.values():
        alike.sort(key=lambda claim: (_room(claim), -claim.path.variance, claim.target))
        frontier: list[Claim] = []
        variance = -1.0
        for claim in alike:
            if claim.path.variance > variance:
                variance = claim.path.variance
                frontier.append(claim)
        if len(frontier) > _KEPT:
            frontier = sorted(frontier, key=_tightness)[:_KEPT]
        kept.extend(frontier)
    return tuple(kept)


def _room(claim: Claim) -> float:
    return claim.policy.minutes * 60.0 - claim.path.mean


def _tightness(claim: Claim) -> float:
    return claim.policy.minutes * 60.0 - claim.allowed
