"""What the targets ask of each asset, carried upstream from target to root.

A *claim* says: for this target, a version of the asset is good until the target's deadline
for it; its successor must start early enough to get through the rest of the path by then.
Claims meet where lineages meet, and only those that can be the most urgent are kept, so that
the work grows with the graph and not with the number of pairs.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import NamedTuple

from freshline.planner.deadlines import deadline
from freshline.planner.estimate import MARGIN, SURE, Span, allowance
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage
from freshline.policy import MaxLag

__all__ = ["Claim", "Urgency", "claims_of", "feasible", "urgency"]


class Claim(NamedTuple):
    target: str
    policy: MaxLag
    feasible: bool
    mean: float
    variance: float
    """Of the path from the start of a run of the asset until the target is materialized."""
    allowed: float
    """That path's allowance, in seconds; 0 while on its way upstream."""
    advance: float
    """Seconds by which to start even earlier, to be in time for a run that others need."""
    busy: float
    """Seconds that the slowest asset on the path takes; it cannot start again before."""

    def latest_start(self, data: float) -> float:
        """When the successor of a version of that data time must start for this target."""
        return deadline(self.policy, data) - self.allowed - self.advance


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
    return Urgency(latest, latest + claim.allowed + claim.advance, claim)


def feasible(facts: Facts, target: str, policy: MaxLag) -> bool:
    """Whether the path could hold the policy. Until every asset on it was measured: yes."""
    if not facts.routes[target].measured:
        return True
    return facts.shortest(target, policy) <= policy.minutes * 60.0


def claims_of(lineage: Lineage, facts: Facts) -> dict[str, tuple[Claim, ...]]:
    """The claims on every asset that some target needs, some perhaps none."""
    asked: dict[str, list[Claim]] = {}
    claims: dict[str, tuple[Claim, ...]] = {}
    for unit in reversed(lineage.units):
        for key in unit.keys:
            found = asked.pop(key, [])
            policy = lineage.policies.get(key)
            if policy:
                able = feasible(facts, key, policy)
                found.append(Claim(key, policy, able, 0.0, 0.0, 0.0, 0.0, 0.0))
            stage = facts.stages[key]
            kept = _most_urgent(found)
            claims[key] = tuple([_allowed(_extended(claim, stage.run)) for claim in kept])
            if unit.obstacle or not unit.schedulable or not kept:
                continue  # its inputs would be made for nothing
            passed_on = [_extended(claim, stage.wait) for claim in claims[key]]
            for name in lineage.inputs[key]:
                carried = _carried(facts, passed_on, name, key)
                advance = _advance(facts, claims[key], name, key, unit.tick) if carried else 0.0
                if advance:
                    carried = [claim._replace(advance=claim.advance + advance) for claim in carried]
                if name in asked:
                    asked[name].extend(carried)
                else:
                    asked[name] = list(carried)
    return claims


def _extended(claim: Claim, span: Span) -> Claim:
    target, policy, able, mean, variance, _, advance, busy = claim
    mean += span.mean
    variance += span.variance
    return Claim(target, policy, able, mean, variance, 0.0, advance, max(busy, span.mean))


def _allowed(claim: Claim) -> Claim:
    target, policy, able, mean, variance, _, advance, busy = claim
    allowed = allowance(Span(mean, variance))
    return Claim(target, policy, able, mean, variance, allowed, advance, busy)


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


def _advance(
    facts: Facts, claims: tuple[Claim, ...], name: str, consumer: str, tick: float
) -> float:
    """How much sooner `name` must be there than its own age asks for (seconds).

    An asset never overlaps with itself. Where an input's next version would be needed while
    the consumer, or one further down, is still busy with the run that another input asks for,
    it has to be in time for that run instead.
    """
    taken, data = facts.taken[consumer], facts.data[name]
    if taken is None or data is None or data <= taken:
        return 0.0
    busy = max([claim.busy for claim in claims]) + tick + MARGIN
    if any(claim.policy.cron for claim in claims):
        later = urgency(claims, data).latest_start - urgency(claims, taken).latest_start
    else:
        later = data - taken
    return later + tick + MARGIN if 0.0 < later < busy else 0.0


def _most_urgent(claims: list[Claim]) -> list[Claim]:
    """Without those that others of the same kind make superfluous.

    Claims that can be held never hide behind one that cannot, nor does a cron behind anything
    but itself.
    """
    if len(claims) <= 1:
        return claims
    kinds: dict[object, list[Claim]] = {}
    for claim in claims:
        cron = claim.policy.cron
        kind = (claim.feasible, cron, claim.policy) if cron else claim.feasible
        if kind in kinds:
            kinds[kind].append(claim)
        else:
            kinds[kind] = [claim]
    return [claim for alike in kinds.values() for claim in _extremes(alike)]


def _extremes(claims: list[Claim]) -> list[Claim]:
    """The tightest claim as it is, and the tightest if nothing varied.

    The more the path upstream varies, the less does it matter which claim varies more, so one
    of these two is the most urgent at the source, or as good as that.
    """
    if len(claims) == 1:
        return claims
    tightest = roughest = claims[0]
    least = least_sure = inf
    for claim in claims:
        room = claim.policy.minutes * 60.0 - claim.mean - claim.advance
        if room < least:
            least, tightest = room, claim
        sure = room - SURE * sqrt(claim.variance)
        if sure < least_sure:
            least_sure, roughest = sure, claim
    return [tightest] if tightest is roughest else [tightest, roughest]


def _tightness(claim: Claim) -> float:
    return claim.policy.minutes * 60.0 - claim.allowed - claim.advance
