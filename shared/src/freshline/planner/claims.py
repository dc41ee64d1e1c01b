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
from freshline.planner.estimate import MARGIN, SURE, Route, Span, allowance
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage
from freshline.policy import MaxLag

__all__ = ["Claim", "Urgency", "claims_of", "feasible", "urgency"]


class Claim(NamedTuple):
    """What one target asks of one asset."""

    target: str
    policy: MaxLag
    feasible: bool
    path: Span = Span(0.0, 0.0)
    """From the start of a run of the asset until the target is materialized."""
    allowed: float = 0.0
    """The allowance of that path, in seconds."""
    advance: float = 0.0
    """Seconds by which to start even earlier, to be in time for a run that others need."""
    busy: float = 0.0
    """Seconds that the slowest asset on the path takes; it cannot start again before."""

    def latest_start(self, data: float) -> float:
        """Return when the successor of a version of that data time must start."""
        return deadline(self.policy, data) - self.allowed - self.advance

    def before(self, span: Span) -> Claim:
        """Return the claim as it is upstream of a `span` on the path."""
        path = self.path.then(span)
        return Claim(
            target=self.target,
            policy=self.policy,
            feasible=self.feasible,
            path=path,
            allowed=allowance(path),
            advance=self.advance,
            busy=max(self.busy, span.mean),
        )


class Urgency(NamedTuple):
    """The claim that must be served first."""

    latest_start: float
    deadline: float | None
    claim: Claim | None


def urgency(claims: tuple[Claim, ...], data: float | None) -> Urgency:
    """Return the most urgent of `claims` on an asset whose current version has that data time."""
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


def feasible(route: Route, policy: MaxLag) -> bool:
    """Return whether `route` could hold `policy`. Until every asset on it was measured: yes."""
    return not route.measured or route.shortest(policy) <= policy.minutes * 60.0


def claims_of(lineage: Lineage, facts: Facts) -> dict[str, tuple[Claim, ...]]:
    """Return the claims on every asset that some target needs; some assets have none."""
    asked: dict[str, list[Claim]] = {}
    claims: dict[str, tuple[Claim, ...]] = {}
    for execution_set in reversed(lineage.execution_sets):
        for key in execution_set.keys:
            asset = facts.assets[key]
            found = asked.pop(key, [])
            policy = lineage.policies.get(key)
            if policy:
                found.append(Claim(key, policy, feasible(asset.route, policy)))
            kept = _most_urgent(found)
            claims[key] = tuple([claim.before(asset.stage.run) for claim in kept])
            if execution_set.obstacle or not execution_set.schedulable or not kept:
                continue  # its inputs would be made for nothing
            passed_on = [claim.before(asset.stage.wait) for claim in claims[key]]
            for name in lineage.inputs[key]:
                asked.setdefault(name, []).extend(
                    _carried(facts, claims[key], passed_on, name, key)
                )
    return claims


def _carried(
    facts: Facts, claims: tuple[Claim, ...], passed_on: list[Claim], name: str, consumer: str
) -> list[Claim]:
    """Return those of `passed_on`, the claims on `consumer`, that are claims on its input `name`.

    As long as the consumer cannot use what it is given, one version waiting for it is enough:
    work that waits for a silent location or a failing asset has a use once, not every few
    minutes, and a policy that cannot be held is served at the pace of its slowest stage.
    """
    if facts.waits_unused(name, consumer):
        if facts.assets[consumer].held:
            return []
        passed_on = [claim for claim in passed_on if claim.feasible]
    advance = _advance(facts, claims, name, consumer) if passed_on else 0.0
    if not advance:
        return passed_on
    return [claim._replace(advance=claim.advance + advance) for claim in passed_on]


def _advance(facts: Facts, claims: tuple[Claim, ...], name: str, consumer: str) -> float:
    """Return how much sooner `name` must be there than its own age asks for (seconds).

    An asset never overlaps with itself. An input's next version may be needed while the
    consumer, or one further down, is still busy with the run that another input asks for. Then
    the version has to be in time for that run instead.
    """
    reader = facts.assets[consumer]
    taken, data = reader.taken, facts.assets[name].data
    if taken is None or data is None or data <= taken:
        return 0.0
    busy = max([claim.busy for claim in claims]) + reader.tick + MARGIN
    if any(claim.policy.cron for claim in claims):
        later = urgency(claims, data).latest_start - urgency(claims, taken).latest_start
    else:
        later = data - taken
    return later + reader.tick + MARGIN if 0.0 < later < busy else 0.0


def _most_urgent(claims: list[Claim]) -> list[Claim]:
    """Leave out claims that others of the same kind make superfluous.

    Claims that can be held never hide behind one that cannot, nor does a cron behind anything
    but itself.
    """
    if len(claims) <= 1:
        return claims
    kinds: dict[object, list[Claim]] = {}
    for claim in claims:
        cron = claim.policy.cron
        kind = (claim.feasible, cron, claim.policy) if cron else claim.feasible
        kinds.setdefault(kind, []).append(claim)
    return [claim for alike in kinds.values() for claim in _extremes(alike)]


def _extremes(claims: list[Claim]) -> list[Claim]:
    """Return the tightest claim as it is, and the tightest if nothing varied.

    The more the path upstream varies, the less does it matter which claim varies more, so one
    of these two is the most urgent at the source, or as good as that.
    """
    if len(claims) == 1:
        return claims
    tightest = roughest = claims[0]
    least = least_sure = inf
    for claim in claims:
        room = claim.policy.minutes * 60.0 - claim.path.mean - claim.advance
        if room < least:
            least, tightest = room, claim
        sure = room - SURE * sqrt(claim.path.variance)
        if sure < least_sure:
            least_sure, roughest = sure, claim
    return [tightest] if tightest is roughest else [tightest, roughest]


def _tightness(claim: Claim) -> float:
    return claim.policy.minutes * 60.0 - claim.allowed - claim.advance
