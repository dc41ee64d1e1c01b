"""How long things take: the stage of one asset, the route to it, and how sure one can be.

A *stage* is one run of an asset. A *route* is the slowest way from a root to an asset: several
stages, one after the other. Both have a mean and a variance, which add up along the way. Plans do
not count on the mean but on the *allowance*, a duration that is rarely exceeded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import ceil, exp, log1p, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

from freshline.model import Durations, Moments
from freshline.planner.deadlines import next_tick
from freshline.planner.moments import ASSUMED_SPREAD, TRUSTED_RUNS
from freshline.policy import MaxLag
from freshline.windows import Windows

__all__ = [
    "DEFAULT_DURATIONS",
    "DEVIATIONS",
    "MARGIN",
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
"""Assumed for an asset that has never run: 2 s in the queue, 8 s to start and 30 s to execute,
after a wait of a tick."""

MARGIN: Final = 2.0
"""Seconds that an allowance is at least above the mean."""

_ANY_RUN: Final = 30.0
"""Seconds of work that a run costs besides its execution: a process, its start, its events."""

_DAY: Final = 86_400.0
_TICKS_SEEN: Final = 60
"""So many ticks of a cron are looked at: two months of days."""

_HOLDS: Final = 0.984
"""An allowance holds 984 times out of 1,000. Those runs that take longer do so by seconds mostly,
so that a policy is late for less than a thousandth of the time."""

DEVIATIONS: Final = NormalDist().inv_cdf(_HOLDS)
"""How many standard deviations that percentile of a normal distribution is above its mean."""


class Span(NamedTuple):
    """A duration that varies: mean in seconds, variance in seconds squared."""

    mean: float
    variance: float

    def then(self, other: Span) -> Span:
        """Return the duration of both, one after the other."""
        return Span(self[0] + other[0], self[1] + other[1])


def allowance(span: Span) -> float:
    """Return the seconds that `span` takes at most, 984 times out of 1,000.

    Durations are skewed: nothing takes less than no time, and some runs take very long. A sum
    of such durations is well described by the lognormal distribution of the same mean and
    variance (Fenton and Wilkinson), whose quantile this is.
    """
    mean, variance = span
    if variance <= 0.0 or mean <= 0.0:
        return mean + MARGIN
    squared = log1p(variance / (mean * mean))
    return max(mean * exp(DEVIATIONS * sqrt(squared) - squared / 2), mean + MARGIN)


# --- one asset -------------------------------------------------------------------------------


class Stage(NamedTuple):
    """One asset's way from inputs that are ready to its own materialization."""

    wait: Span
    """From the inputs being ready until a tick notices it."""
    execution: Span
    before: Span
    """From the request until it begins to read: queue and start."""
    run: Span
    """From the request to the materialization: queue, start and execution."""
    at_most: float
    """The allowance of `run`, in seconds."""
    rest: Span
    """From a materialization until the next run may be requested."""
    measured: bool
    work: float = 0.0
    """What a run costs, in seconds of work."""


NOTHING: Final = Stage(
    wait=Span(0.0, 0.0),
    execution=Span(0.0, 0.0),
    before=Span(0.0, 0.0),
    run=Span(0.0, 0.0),
    at_most=0.0,
    rest=Span(0.0, 0.0),
    measured=True,
)
"""The stage of a view: it has what its inputs have, without a run."""


def stage_of(
    durations: Durations, tick: float, feeders: int = 1, at_most_every: float = 0.0
) -> Stage:
    """Return the stage of an asset whose location plans every `tick` seconds.

    It is requested again only `at_most_every` seconds after its last version.

    A wait is measured from the last input on. With several `feeders`, another one may come last
    the next time, and may then wait for a whole tick. As inputs come early in a tick as often as
    late, a whole tick is twice the mean wait.
    """
    queue = _span(durations.queue, DEFAULT_DURATIONS.queue)
    start = _span(durations.start, DEFAULT_DURATIONS.start)
    execution = _span(durations.execution, DEFAULT_DURATIONS.execution)
    before = queue.then(start)
    run = before.then(execution)
    wait = durations.wait
    if wait and feeders > 1:
        wait = Moments(wait.count, 2 * wait.mean, 0.0)
    return Stage(
        wait=Span(min(wait.mean, tick), wait.variance) if wait else Span(tick, 0.0),
        execution=execution,
        before=before,
        run=run,
        at_most=allowance(run),
        rest=Span(at_most_every, 0.0),
        measured=durations.execution is not None and durations.execution.count > 0,
        work=execution.mean + _ANY_RUN,
    )


def _span(measured: Moments | None, default: Moments | None) -> Span:
    moments = measured or default
    if moments is None:
        return Span(0.0, 0.0)
    count = moments.count
    doubt = max(0.0, 1.0 - count / TRUSTED_RUNS)
    assumed = ASSUMED_SPREAD * moments.mean
    variance = moments.variance * _student_factor(count) ** 2 + doubt * assumed * assumed
    mean_of = count if moments.mean_of is None else moments.mean_of
    unsure = 1.0 + 1.0 / mean_of if mean_of else 1.0  # the mean is an estimate as well
    return Span(moments.mean, variance * unsure)


def _student_factor(count: float) -> float:
    """Return the factor by which that percentile is further out than a normal one's.

    When the spread was measured in `count` runs, the next run follows Student's distribution. The
    factor has the first term of the Cornish-Fisher expansion of its percentile. For fewer runs
    than `TRUSTED_RUNS` that term would be far too large; part of the spread is assumed instead.
    """
    return 1.0 + (DEVIATIONS * DEVIATIONS + 1.0) / (4.0 * (max(count, TRUSTED_RUNS) - 1))


# --- the way to it ---------------------------------------------------------------------------


class Route(NamedTuple):
    """The slowest way from a root to an asset."""

    path: Span
    """From the time that the data shows until the asset is materialized. The data shows when a root
    begins to read, or the end of a time window."""
    slowest: Span
    """The longest stage on any way, with its rest: versions cannot follow each other faster."""
    measured: bool
    """Whether every asset on any way was measured."""
    lead: Span = Span(0.0, 0.0)
    """From when a root could be requested until it begins to read."""
    windows: Windows | None = None
    """The longest time windows on any way: data times are ends of them."""
    work: float = 0.0
    """What the runs on the way cost, in seconds of work."""

    def shortest(self, policy: MaxLag, now: float) -> float:
        """Return the smallest maximum lag (seconds) that this way could hold at `now`.

        Data is oldest just before a version is replaced. Its age is then the time between two
        versions, plus the whole path. The time between two versions is at least the slowest
        stage, because an asset runs once at a time. With a cron only the path counts: its ticks
        are known long before, so that no run is in the way.

        Between the data times of two versions is at least a time window, if there are any. With a
        cron, the data shows the end of the last window that could be made before the tick.
        """
        if policy.cron is None:
            return allowance(self.path.then(self.slowest))
        path = allowance(self.path)
        if self.windows is None:
            return path
        return _oldest_at_ticks(policy, self.windows, ceil(path), now // _DAY)


@lru_cache(maxsize=1_000)
def _oldest_at_ticks(policy: MaxLag, windows: Windows, path: int, day: float) -> float:
    """Return the largest age (seconds) of windowed data at the next ticks of a policy's cron.

    A window that closes at most `path` seconds before a tick is not there yet. `day` is the number
    of the day, in UTC since 1970, from which on ticks are looked at.
    """
    tick = max(day * _DAY, windows.first.end + path)
    oldest = 0.0
    for _ in range(_TICKS_SEEN):
        tick = next_tick(policy.cron or "", policy.timezone, tick)
        oldest = max(oldest, tick - windows.reach(tick - path))
    return oldest


def route_through(
    stage: Stage,
    inputs: Iterable[Route],
    tick: float,
    windows: Windows | None = None,
    now: float = 0.0,
) -> Route:
    """Return the route to an asset: `stage`, after the slowest of `inputs`, its inputs' routes.

    `tick` is that of its location, in seconds. It counts for a root only. `windows` are those of
    the asset's partitions, if it has only such as have closed.
    """
    routes = iter(inputs)
    longest = next(routes, None)
    if longest is None:
        # The data time of a root is when it begins to read. What comes before that (wait, queue
        # and start) does not age the data; it only delays the next version.
        cycle = Span(tick, 0.0).then(stage.run).then(stage.rest)
        lead = Span(tick, 0.0).then(stage.before)
        route = Route(stage.execution, cycle, stage.measured, lead, work=stage.work)
        return _after_windows(route, windows, now)
    own = stage.wait.then(stage.run)
    cycle = own.then(stage.rest)
    slowest = cycle if not _longer(longest.slowest, cycle) else longest.slowest
    measured = stage.measured and longest.measured
    coarsest = longest.windows
    for route in routes:
        measured = measured and route.measured
        if _longer(route.path, longest.path):
            longest = route
        if _longer(route.slowest, slowest):
            slowest = route.slowest
        coarsest = _coarser(coarsest, route.windows, now)
    if windows is not None:
        longest = _after_windows(longest, windows, now)
        coarsest = _coarser(coarsest, windows, now)
        if _longer(longest.slowest, slowest):
            slowest = longest.slowest
    return Route(
        longest.path.then(own), slowest, measured, longest.lead, coarsest, longest.work + stage.work
    )


def _after_windows(route: Route, windows: Windows | None, now: float) -> Route:
    """Return `route` to data that shows the end of a window: all that comes after it ages it."""
    if windows is None:
        return route
    length = Span(windows.longest(now), 0.0)
    return Route(
        path=route.lead.then(route.path),
        slowest=length if _longer(length, route.slowest) else route.slowest,
        measured=route.measured,
        windows=_coarser(route.windows, windows, now),
        work=route.work,
    )


def _coarser(one: Windows | None, other: Windows | None, now: float) -> Windows | None:
    if one is None or other is None or one == other:
        return one or other
    return one if one.longest(now) >= other.longest(now) else other


def _longer(one: Span, other: Span) -> bool:
    """Return whether `one` has the longer allowance. Mostly mean and variance alone decide."""
    if one.mean >= other.mean and one.variance >= other.variance:
        return one != other
    if one.mean <= other.mean and one.variance <= other.variance:
        return False
    return allowance(one) > allowance(other)
