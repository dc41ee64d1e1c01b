"""What the targets ask of each asset, carried upstream from target to root.

A *claim* is what one target asks of one asset: the next version must start early enough to pass
through the rest of the path before the target's deadline. Several claims may meet at an asset.
Only those that can be the most urgent are kept, so that the work grows with the graph and not
with the number of pairs of target and asset.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heapreplace
from math import inf, sqrt
from typing import Final, NamedTuple

from freshline.planner.deadlines import deadline
from freshline.planner.estimate import MARGIN, Z_99, Route, Span, allowance
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage
from freshline.policy import MaxLag
from freshline.windows import Windows

__all__ = ["Claim", "Urgency", "claims_of", "feasible", "urgency"]


_MOMENT: Final = 1e-3
"""Seconds: less than any window is long."""


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
    """Seconds by which to start even earlier, to be in time for a run that another input needs."""
    busy: float = 0.0
    """Seconds that the slowest asset on the path takes; so long it cannot start again."""
    windows: tuple[Windows, ...] = ()
    """The time windows of the assets on the path, in order: data counts up to the end of one."""

    def latest_start(self, data_time: float) -> float:
        """Return when the run that replaces a version of `data_time` must start at the latest.

        It is not before a run can bring something that counts. A `data_time` of -inf, which is not
        known, is always too old.
        """
        if data_time == -inf:
            return -inf
        latest = self.deadline(data_time) - self.allowed - self.advance
        return max(latest, self.not_before(data_time)) if self.windows else latest

    def deadline(self, data_time: float) -> float:
        """Return when the target must have newer data than a version of `data_time` brings."""
        for windows in self.windows:
            data_time = windows.reach(data_time)
        return deadline(self.policy, data_time)

    def not_before(self, data_time: float) -> float:
        """Return from when on a newer version than one of `data_time` brings something new."""
        if not self.windows:
            return -inf
        reached = data_time
        for windows in self.windows:
            reached = windows.reach(reached)
        needed = self.windows[-1].next_reach(reached)
        for windows in reversed(self.windows[:-1]):
            needed = windows.next_reach(needed - _MOMENT)
        return needed

    def upstream_of(self, span: Span, windows: Windows | None = None) -> Claim:
        """Return the claim as it is before `span`, which becomes part of its path.

        `windows` are those of the asset after `span`, if it has any.
        """
        path = self.path.then(span)
        return Claim(
            target=self.target,
            policy=self.policy,
            feasible=self.feasible,
            path=path,
            allowed=allowance(path),
            advance=self.advance,
            busy=max(self.busy, span.mean),
            windows=self.windows if windows is None else _before(windows, self.windows),
        )


def _before(windows: Windows, others: tuple[Windows, ...]) -> tuple[Windows, ...]:
    """Return `others` with `windows` before them, unless that changes nothing."""
    return others if others and others[0] == windows and not windows.shift else (windows, *others)


class Urgency(NamedTuple):
    """Which claim on an asset must be served first, and by when."""

    latest_start: float
    """When a run must start at the latest; -inf: there is no version yet; inf: no claim."""
    deadline: float | None
    """When the target must have newer data."""
    claim: Claim | None
    not_before: float = -inf
    """From when on a run brings something that the claim needs."""


def urgency(claims: tuple[Claim, ...], data_time: float | None) -> Urgency:
    """Return the most urgent of `claims` on an asset whose current version has `data_time`."""
    if not claims:
        return Urgency(inf, None, None)
    if data_time is None:
        return Urgency(-inf, None, min(claims, key=_room))
    claim = claims[0]
    latest = claim.latest_start(data_time)
    for other in claims[1:]:
        start = other.latest_start(data_time)
        if start < latest:
            latest, claim = start, other
    if claim.windows:
        return Urgency(latest, claim.deadline(data_time), claim, claim.not_before(data_time))
    return Urgency(latest, latest + claim.allowed + claim.advance, claim)


def feasible(route: Route, policy: MaxLag, now: float) -> bool:
    """Return whether `route` could hold `policy`; True as long as some asset was not measured.

    Only that it is shorter than a time window is certain before anything was measured.
    """
    seconds = policy.minutes * 60.0
    if not route.measured:
        shorter = policy.cron is None and route.windows and route.windows.longest(now) > seconds
        return not shorter
    return route.shortest(policy, now) <= seconds


def claims_of(lineage: Lineage, facts: Facts) -> dict[str, tuple[Claim, ...]]:
    """Return the claims on each asset in `lineage`, by key; some assets have none."""
    asked: dict[str, list[Claim]] = {}
    claims: dict[str, tuple[Claim, ...]] = {}
    ages = _ages(lineage, facts)
    for execution_set in reversed(facts.execution_sets):
        for key in execution_set.keys:
            asset = facts.assets[key]
            found = asked.pop(key, [])
            policy = lineage.policies.get(key)
            if policy and not facts.pause(key):
                found.append(Claim(key, policy, feasible(asset.route, policy, facts.now)))
            kept = _most_urgent(found, ages.get(key, ()))
            claims[key] = tuple([claim.upstream_of(asset.stage.run) for claim in kept])
            if execution_set.obstacle or execution_set.never_requested or not kept:
                continue  # its inputs would be made for nothing
            windows = lineage.graph.assets[key].windows
            passed_on = [claim.upstream_of(asset.stage.wait, windows) for claim in claims[key]]
            for name in lineage.inputs[key]:
                asked.setdefault(name, []).extend(
                    _claims_on_input(facts, claims[key], passed_on, name, key)
                )
    return claims


def _claims_on_input(
    facts: Facts, claims: tuple[Claim, ...], passed_on: list[Claim], name: str, consumer: str
) -> list[Claim]:
    """Return which claims `consumer` passes on to its input `name`: all of `passed_on` or fewer.

    One unused version of the input is enough. While the consumer cannot run (its location is
    silent, or something fails), the input is not made again. Where a policy cannot be held, it is
    made again when the consumer has used the last version.
    """
    if facts.has_unused_version(name, consumer):
        if facts.assets[consumer].hold:
            return []
        passed_on = [claim for claim in passed_on if claim.feasible]
    advance = _advance(facts, claims, name, consumer) if passed_on else 0.0
    if not advance:
        return passed_on
    return [claim._replace(advance=claim.advance + advance) for claim in passed_on]


def _advance(facts: Facts, claims: tuple[Claim, ...], name: str, consumer: str) -> float:
    """Return by how many seconds `name` must come earlier than its own data time asks for.

    An asset runs once at a time. When the next version of `name` is needed, the consumer, or an
    asset downstream of it, may be busy with a run that another input needs. Then that version has
    to be in time for that run.
    """
    reader = facts.assets[consumer]
    used, data_time = reader.used_up_to, facts.data_time_of_input(consumer, name)
    if used is None or data_time is None or data_time <= used:
        return 0.0
    if facts.graph.assets[consumer].partitioned:
        return 0.0  # its partitions do not wait for each other
    busy = max([claim.busy for claim in claims]) + reader.tick + MARGIN
    if any(claim.policy.cron or claim.windows for claim in claims):
        later = urgency(claims, data_time).latest_start - urgency(claims, used).latest_start
    else:
        later = data_time - used
    return later + reader.tick + MARGIN if 0.0 < later < busy else 0.0


class _Age(NamedTuple):
    """A range of data times: the claims on an asset are judged by data times in it."""

    oldest: float
    newest: float


def _ages(lineage: Lineage, facts: Facts) -> dict[str, tuple[_Age, ...]]:
    """Return which data times there are of each asset and upstream of it: those of now, and now.

    Empty without crons, which alone need it.
    """
    ages: dict[str, tuple[_Age, ...]] = {}
    if not any(policy.cron for policy in lineage.policies.values()):
        return ages
    after_run = _Age(facts.now, facts.now)
    for execution_set in facts.execution_sets:
        for key in execution_set.keys:
            asset = facts.assets[key]
            times = [time for time in (asset.data_time, asset.used_up_to) if time is not None]
            for name in lineage.inputs[key]:
                times.extend(time for age in ages.get(name, ())[:-1] for time in age)
            known = (_Age(min(times), max(times)),) if times else ()
            ages[key] = *known, after_run
    return ages


def _most_urgent(claims: list[Claim], ages: tuple[_Age, ...]) -> list[Claim]:
    """Return `claims` without those that are never the most urgent of their kind.

    Feasible claims are one kind and infeasible claims another. With a cron they are other kinds,
    of which those are kept that are the most urgent for some data time in `ages`. With time windows
    on the path, each policy is a kind of its own.
    """
    if len(claims) <= 1:
        return claims
    kinds: dict[object, list[Claim]] = {}
    crons: dict[object, list[Claim]] = {}
    for claim in claims:
        if claim.windows:
            alike = kinds.setdefault((claim.feasible, claim.policy, claim.windows), [])
        elif claim.policy.cron:
            alike = crons.setdefault(claim.feasible, [])
        else:
            alike = kinds.setdefault(claim.feasible, [])
        alike.append(claim)
    kept = [claim for alike in kinds.values() for claim in _extremes(alike)]
    kept.extend(claim for alike in crons.values() for claim in _first_by_cron(alike, ages))
    return kept


def _first_by_cron(claims: list[Claim], ages: tuple[_Age, ...]) -> list[Claim]:
    """Return those of `claims`, which have crons, that are the most urgent for some data time.

    The deadline that follows from a cron is the same for all data times until it jumps to the next
    tick. So the most urgent claim stays that until its own deadline jumps: others can only become
    less urgent. As in `_extremes`, claims are compared by mean and by allowance.
    """
    alike: dict[MaxLag, list[Claim]] = {}
    for claim in claims:
        alike.setdefault(claim.policy, []).append(claim)
    extremes = [claim for same in alike.values() for claim in _extremes(same)]
    if len(alike) == 1:
        return extremes
    first = {
        claim.target: claim
        for doubt in (0.0, Z_99)
        for age in ages
        for claim in _first_in_turn(extremes, doubt, age)
    }
    # An asset without a version names the claim that leaves the least room.
    first.update((claim.target, claim) for claim in _extremes(extremes))
    return list(first.values())


def _first_in_turn(claims: list[Claim], doubt: float, age: _Age) -> Iterator[Claim]:
    """Yield the claim that is the most urgent for the oldest data time, and those that follow it.

    Paths count with their mean and `doubt` standard deviations.
    """

    def as_of(data_time: float, number: int) -> tuple[float, int, float]:
        """Return the latest start, the claim it is of, and up to which data time it is that."""
        claim = claims[number]
        tick = deadline(claim.policy, data_time)
        latest = tick - claim.path.mean - claim.advance - doubt * sqrt(claim.path.variance)
        return latest, number, tick - claim.policy.minutes * 60.0

    data_time = age.oldest
    queue = [as_of(data_time, number) for number in range(len(claims))]
    heapify(queue)
    while data_time <= age.newest:
        _, number, until = queue[0]
        if until > data_time:
            yield claims[number]
            data_time = until
        heapreplace(queue, as_of(data_time, number))


def _extremes(claims: list[Claim]) -> list[Claim]:
    """Return the claim that is tightest by its mean path, and the one tightest by its allowance.

    Upstream, more variance is added to both. The more there is, the less it matters which claim
    had more of it. So one of the two is the most urgent at the root, or almost the most urgent.
    """
    if len(claims) == 1:
        return claims
    by_mean = by_allowance = claims[0]
    least_by_mean = least_by_allowance = inf
    for claim in claims:
        room = claim.policy.minutes * 60.0 - claim.path.mean - claim.advance
        if room < least_by_mean:
            least_by_mean, by_mean = room, claim
        certain = room - Z_99 * sqrt(claim.path.variance)
        if certain < least_by_allowance:
            least_by_allowance, by_allowance = certain, claim
    return [by_mean] if by_mean is by_allowance else [by_mean, by_allowance]


def _room(claim: Claim) -> float:
    """Return the seconds that the policy leaves beyond the allowance of the path."""
    return claim.policy.minutes * 60.0 - claim.allowed - claim.advance
