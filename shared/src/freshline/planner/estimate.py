"""How long things take: the stage of one asset, the route to it, and how sure one can be.

A *stage* is one run of an asset. A *route* is the slowest way from a root to an asset: several
stages, one after the other. Both are known as a mean and a variance, which add up along a way.
A target is never promised the mean, but the *allowance*: a duration that is rarely exceeded.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log1p, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

from freshline.model import Durations, Moments
from freshline.policy import MaxLag

__all__ = [
    "DEFAULT_DURATIONS",
    "MARGIN",
    "SURE",
    "Route",
    "Span",
    "Stage",
    "allowance",
    "route_through",
    "stage_of",
]

DEFAULT_DURATIONS: Final = Durations(
    queue=Moments(0, 2.0, 0.0),
    start=Moments(0, 8.0, 0.0),
    execution=Moments(0, 30.0, 0.0),
)
"""What a run is taken to need before any was measured: 2 s in the queue, 8 s to start, 30 s
to execute, and a whole tick of waiting. The first run of an asset ends its use."""

MARGIN: Final = 2.0
"""Seconds that a path is always allowed beyond its mean, however steady it was."""

_ASSUMED_SPREAD: Final = 0.3
_TRUSTED: Final = 10
"""Until ten runs were measured, part of the spread is assumed: 30% of the mean at first."""

SURE: Final = NormalDist().inv_cdf(0.99)
"""An allowance holds 99 times out of 100: so many standard deviations beyond the mean, where
durations are normally distributed."""


class Span(NamedTuple):
    """A duration that varies: mean in seconds, variance in seconds squared."""

    mean: float
    variance: float

    def then(self, other: Span) -> Span:
        """Return the duration of both, one after the other."""
        return Span(self[0] + other[0], self[1] + other[1])


def allowance(span: Span) -> float:
    """Return the seconds that `span` takes at most, 99 times out of 100.

    Durations are skewed: nothing takes less than no time, and some runs take very long. A sum
    of such durations is well described by the lognormal distribution of the same mean and
    variance (Fenton and Wilkinson), whose quantile this is.
    """
    mean, variance = span
    if variance <= 0.0 or mean <= 0.0:
        return mean + MARGIN
    squared = log1p(variance / (mean * mean))
    return max(mean * exp(SURE * sqrt(squared) - squared / 2), mean + MARGIN)


# --- one asset -------------------------------------------------------------------------------


class Stage(NamedTuple):
    """One asset's way from inputs that are ready to its own materialization."""

    wait: Span
    """For a tick that notices the inputs."""
    execution: Span
    run: Span
    """From the request: in the queue, starting, and the execution."""
    at_most: float
    """The allowance of `run`, in seconds."""
    measured: bool


def stage_of(durations: Durations, tick: float, feeders: int = 1) -> Stage:
    """Return the stage of an asset whose location plans every `tick` seconds.

    The measured wait is the time since the last of its inputs came. With several `feeders`,
    another one may be the last next time, and wait for up to a whole tick. That is twice the
    mean, if an input is as likely to come early in a tick as late.
    """
    queue = _span(durations.queue, DEFAULT_DURATIONS.queue)
    start = _span(durations.start, DEFAULT_DURATIONS.start)
    execution = _span(durations.execution, DEFAULT_DURATIONS.execution)
    run = queue.then(start).then(execution)
    wait = durations.wait
    if wait and feeders > 1:
        wait = Moments(wait.count, 2 * wait.mean, 0.0)
    return Stage(
        wait=Span(min(wait.mean, tick), wait.variance) if wait else Span(tick, 0.0),
        execution=execution,
        run=run,
        at_most=allowance(run),
        measured=durations.execution is not None and durations.execution.count > 0,
    )


def _span(measured: Moments | None, default: Moments | None) -> Span:
    moments = measured or default
    if moments is None:
        return Span(0.0, 0.0)
    count = moments.count
    doubt = max(0.0, 1.0 - count / _TRUSTED)
    assumed = _ASSUMED_SPREAD * moments.mean
    variance = moments.variance * _widened(count) ** 2 + doubt * assumed * assumed
    unsure = 1.0 + 1.0 / count if count else 1.0  # of the mean itself
    return Span(moments.mean, variance * unsure)


def _widened(count: float) -> float:
    """Return by how much a quantile lies further out when `count` runs tell of the spread.

    The next of a few measured values follows Student's distribution. This is the first term of
    what it adds to the normal one's quantile (Cornish and Fisher). Of fewer runs than are
    trusted a part of the spread is assumed, and the term would be far too large.
    """
    return 1.0 + (SURE * SURE + 1.0) / (4.0 * (max(count, _TRUSTED) - 1))


# --- the way to it ---------------------------------------------------------------------------


class Route(NamedTuple):
    """The slowest way from a root to an asset."""

    path: Span
    """From when the root begins to read until the asset is materialized."""
    slowest: Span
    """The longest stage on any way: no version can follow another faster than that."""
    measured: bool
    """Whether every asset on any way was measured."""

    def shortest(self, policy: MaxLag) -> float:
        """Return the smallest maximum lag (seconds) that this way could hold.

        Data is oldest just before a version is replaced. It is then as old as two versions are
        apart (the slowest stage, as an asset never overlaps with itself), plus the whole path.
        The ticks of a cron are known long before, so that no earlier run has to be waited for.
        """
        return allowance(self.path if policy.cron else self.path.then(self.slowest))


def route_through(stage: Stage, inputs: Iterable[Route], tick: float) -> Route:
    """Return the route to an asset of this stage, whose inputs have the routes `inputs`."""
    routes = iter(inputs)
    longest = next(routes, None)
    if longest is None:
        # The data time of a root is when it begins to read: the launch delays the next one only.
        return Route(stage.execution, Span(tick, 0.0).then(stage.run), stage.measured)
    own = stage.wait.then(stage.run)
    slowest = own if not _longer(longest.slowest, own) else longest.slowest
    measured = stage.measured and longest.measured
    for route in routes:
        measured = measured and route.measured
        if _longer(route.path, longest.path):
            longest = route
        if _longer(route.slowest, slowest):
            slowest = route.slowest
    return Route(longest.path.then(own), slowest, measured)


def _longer(one: Span, other: Span) -> bool:
    if one.mean >= other.mean and one.variance >= other.variance:
        return one != other
    if one.mean <= other.mean and one.variance <= other.variance:
        return False
    return allowance(one) > allowance(other)
