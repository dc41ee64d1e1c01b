"""A claim: what one target asks of one asset, and how urgent that is.

The next version of the asset must start early enough to pass through the rest of the path before
the target's deadline.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Final, NamedTuple

from freshline.planner.deadlines import deadline
from freshline.planner.estimate import Route, Span, allowance
from freshline.policy import MaxLag
from freshline.windows import Windows

__all__ = ["Claim", "Urgency", "feasible", "served", "urgency"]

_MOMENT: Final = 1e-3
"""Seconds: less than any window is long."""


class Claim(NamedTuple):
    """What one target asks of one asset."""

    target: str
    policy: MaxLag
    """Its own, or the one that its path comes closest to."""
    path: Span = Span(0.0, 0.0)
    """From the start of a run of the asset until the target is materialized."""
    allowed: float = 0.0
    """The allowance of that path, in seconds."""
    advance: float = 0.0
    """Seconds by which to start even earlier, to be in time for a run that another input needs."""
    work: float = 0.0
    """What the runs on that path cost, in seconds of work."""
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

    def upstream_of(self, span: Span, work: float = 0.0, windows: Windows | None = None) -> Claim:
        """Return the claim as it is before `span`, which becomes part of its path.

        `work` is what a run in `span` costs. `windows` are those of the asset after `span`, if it
        has any.
        """
        path = self.path.then(span)
        return Claim(
            target=self.target,
            policy=self.policy,
            path=path,
            allowed=allowance(path),
            advance=self.advance,
            work=self.work + work,
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


def served(route: Route, policy: MaxLag, now: float) -> MaxLag:
    """Return the policy to serve for `policy`: what its route comes closest to if it is infeasible.

    With that the slowest asset on the way runs back to back, and the others as often as it does.
    """
    if feasible(route, policy, now):
        return policy
    seconds = route.shortest(policy, now) if policy.cron else route.path.mean + route.slowest.mean
    return replace(policy, minutes=seconds / 60.0)


def _room(claim: Claim) -> float:
    """Return the seconds that the policy leaves beyond the allowance of the path."""
    return claim.policy.minutes * 60.0 - claim.allowed - claim.advance
