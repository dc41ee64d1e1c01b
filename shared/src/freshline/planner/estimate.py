"""How long things take: stages of one asset, paths of many, and how sure one can be.

A *stage* is one run of an asset; a *path* is several stages one after the other. Both are
known as a mean and a variance, which add up along a path. What is promised to a target is
never the mean but the path's *allowance*: a duration that it rarely exceeds.
"""

from __future__ import annotations

from math import exp, log1p, sqrt
from typing import Final, NamedTuple

from freshline.model import Durations, Moments

__all__ = ["DEFAULT_DURATIONS", "MARGIN", "SURE", "Span", "Stage", "allowance", "stage_of"]

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

SURE: Final = 2.326
"""Standard normal deviate of the quantile that is promised: 99%."""


class Span(NamedTuple):
    """A duration that varies: mean in seconds, variance in seconds squared."""

    mean: float
    variance: float

    def then(self, other: Span) -> Span:
        return Span(self[0] + other[0], self[1] + other[1])


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


def allowance(span: Span) -> float:
    """Seconds that a path of this mean and variance takes at most, 99 times out of 100.

    Durations are skewed: nothing takes less than no time, and some runs take very long. A sum
    of such durations is well described by the lognormal distribution of the same mean and
    variance (Fenton and Wilkinson), whose quantile this is.
    """
    mean, variance = span
    if variance <= 0.0 or mean <= 0.0:
        return mean + MARGIN
    squared = log1p(variance / (mean * mean))
    return max(mean * exp(SURE * sqrt(squared) - squared / 2), mean + MARGIN)


_MANY = 100_000
_stages: dict[int, tuple[Durations, float, int, Stage]] = {}
"""By the id of the durations, which are the same object until a run adds to them."""


def stage_of(durations: Durations, tick: float, feeders: int = 1) -> Stage:
    """The stage of an asset whose location plans every `tick` seconds.

    What was measured as its wait is the time since the last of its inputs came. With several
    `feeders` another one may be the last next time, and wait for up to a whole tick: twice the
    mean, if moments within a tick are all alike.
    """
    known = _stages.get(id(durations))
    if known is None or known[0] is not durations or known[1:3] != (tick, feeders):
        if len(_stages) >= _MANY:
            _stages.clear()
        stage = _stage_of(durations, tick, feeders)
        known = _stages[id(durations)] = durations, tick, feeders, stage
    return known[3]


def _stage_of(measured: Durations, tick: float, feeders: int) -> Stage:
    queue = _span(measured.queue, DEFAULT_DURATIONS.queue)
    start = _span(measured.start, DEFAULT_DURATIONS.start)
    execution = _span(measured.execution, DEFAULT_DURATIONS.execution)
    run = queue.then(start).then(execution)
    wait = measured.wait
    if wait and feeders > 1:
        wait = Moments(wait.count, 2 * wait.mean, 0.0)
    return Stage(
        wait=Span(min(wait.mean, tick), wait.variance) if wait else Span(tick, 0.0),
        execution=execution,
        run=run,
        at_most=allowance(run),
        measured=measured.execution is not None and measured.execution.count > 0,
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


def _widened(count: int) -> float:
    """By how much a quantile lies further out when the spread itself is known from `count` runs.

    The next of a few measured values follows Student's distribution; this is the first term of
    what it adds to the normal one's quantile (Cornish and Fisher). Of fewer runs than are
    trusted a part of the spread is assumed, and the term would be far too large.
    """
    return 1.0 + (SURE * SURE + 1.0) / (4.0 * (max(count, _TRUSTED) - 1))
