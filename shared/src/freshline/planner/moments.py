"""How long the phases of runs took: count, mean and variance, brought up to date run by run.

Shared by `history` (from the event log) and `simulate` (from the virtual clock), so that the
planner sees the same figures in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign, inf
from statistics import median
from typing import Final

from freshline.model import Durations, Moments, Phase, Trend

__all__ = ["ASSUMED_SPREAD", "MEMORY", "TRUSTED_RUNS", "including", "measure", "remember"]

MEMORY: Final = 100
"""From so many runs on, a new one weighs 1/100, and older ones fade. The spread of a steady
duration is known to about a twentieth. A change is learnt sooner: it is noticed."""

_OUTLIER_MEANS: Final = 3.0
_OUTLIER_DEVIATIONS: Final = 6.0
"""No run counts for more than so many means and standard deviations together."""

_USUAL: Final = 1.0
"""So many standard deviations from the mean are no surprise; what is beyond is evidence."""
_EVIDENCE_OF_ONE: Final = 2.0
"""One run is no more evidence of a change than that: it may be an accident."""
_ENOUGH_EVIDENCE: Final = 5.0
"""From so much on, durations have changed: after three runs, if these leave no doubt. Of a thousand
runs of a steady lognormal duration, less than one is taken for a change."""
_LEAST_DEVIATION: Final = 2.0
"""Seconds: what varies less is taken to vary so much. An allowance has a margin for that."""

ASSUMED_SPREAD: Final = 0.3
"""The standard deviation of durations, as a share of their mean, as far as it was not measured."""

TRUSTED_RUNS: Final = 10
"""Before so many runs were measured, nothing is a surprise. After a change, the spread counts as
measured in so many."""


def including(moments: Moments | None, seconds: float) -> Moments:
    """Return `moments` with one more duration (seconds); the newest `MEMORY` or so dominate.

    A duration far beyond all before it, of a laptop that slept during a sync for example, counts
    as three means and six standard deviations at most. One accident must not make a policy look
    infeasible for a day. A lasting change is noticed after three runs or more. The mean is then
    that of these alone.
    """
    seconds = max(0.0, seconds)
    if moments is None or moments.count == 0:
        return Moments(1, seconds, 0.0)
    if moments.count >= 3 and moments.mean > 0:
        limit = _OUTLIER_MEANS * moments.mean + _OUTLIER_DEVIATIONS * float(moments.variance**0.5)
        seconds = min(seconds, limit)
    trend = _trend(moments, seconds)
    if trend and abs(trend.evidence) > _ENOUGH_EVIDENCE:
        return _changed(trend)
    count, mean_of = moments.count + 1, _mean_of(moments) + 1
    weight, weight_of_mean = 1.0 / min(count, MEMORY), 1.0 / min(mean_of, MEMORY)
    surprise = seconds - moments.mean
    return Moments(
        count,
        moments.mean + weight_of_mean * surprise,
        (1.0 - weight) * moments.variance + weight * (1.0 - weight_of_mean) * surprise * surprise,
        mean_of,
        trend,
    )


def _mean_of(moments: Moments) -> float:
    return moments.count if moments.mean_of is None else moments.mean_of


def _trend(moments: Moments, seconds: float) -> Trend | None:
    """Return the newest durations with `seconds` if they look like a change; None: they do not.

    The evidence is a cumulative sum: each duration adds how many standard deviations it is from the
    mean before, less those that are usual. Durations on the other side take away.
    """
    trend = moments.trend or Trend(moments, (), 0.0)
    before = trend.before
    if before.count < TRUSTED_RUNS:
        return None
    deviation = max(_LEAST_DEVIATION, float(before.variance**0.5))
    side = copysign(1.0, trend.evidence or seconds - before.mean)
    surprise = side * (seconds - before.mean) / deviation - _USUAL
    evidence = abs(trend.evidence) + max(-_EVIDENCE_OF_ONE, min(surprise, _EVIDENCE_OF_ONE))
    if evidence <= 0.0:
        return None
    return Trend(before, (*trend.durations, seconds), side * evidence)


def _changed(trend: Trend) -> Moments:
    """Return what is known of durations that have changed as `trend` shows.

    The mean is the median of the newest ones, which an accident among them hardly moves. If it is
    longer than before, the spread grows by the same factor, but not beyond what is usual. The
    spread does not shrink: this may not have been a change after all.
    """
    before, newest = trend.before, len(trend.durations)
    mean, spread = median(trend.durations), float(before.variance**0.5)
    factor = mean / before.mean if before.mean > 0 else 1.0
    spread = max(spread, min(factor * spread, ASSUMED_SPREAD * mean))
    return Moments(max(newest, TRUSTED_RUNS), mean, spread * spread, mean_of=newest)


def measure(
    *,
    ready_at: float | None,
    requested_at: float,
    launched_at: float,
    started_at: float,
    materialized_at: float,
    tick: float,
    launchable_at: float = -inf,
    startable_at: float = -inf,
) -> dict[Phase, float]:
    """Return how many seconds each phase of one successful materialization took.

    `ready_at` is when the last of its inputs was materialized; None: it has no inputs. Only time
    after `ready_at` counts: if that input was made in the same run, only the execution does. A
    wait longer than `tick` was a decision, not a delay, and counts as `tick`.

    `launchable_at` is since when there was a slot, and a place in each pool, until the launch;
    `startable_at` is the same for the start of the step, where steps take the places of pools.
    What was waited before was a wait for others, and counts for nothing.

    The daemon launches, by its host's clock. The location's hosts request and start, by theirs: so
    a launch that is not between the two counts as at the nearer one.
    """
    launched_at = max(requested_at, min(launched_at, started_at))
    ready = requested_at if ready_at is None else ready_at

    def between(begin: float, end: float) -> float:
        return max(0.0, end - max(begin, ready))

    measured = {
        Phase.QUEUE: between(max(requested_at, launchable_at), launched_at),
        Phase.START: between(max(launched_at, startable_at), started_at),
        Phase.EXECUTION: between(started_at, materialized_at),
    }
    if ready_at is not None:
        measured[Phase.WAIT] = min(tick, max(0.0, requested_at - ready_at))
    return measured


def remember(durations: Durations, measured: Mapping[Phase, float]) -> Durations:
    """Return `durations` with the phases of one more run."""

    def updated(moments: Moments | None, phase: Phase) -> Moments | None:
        return including(moments, measured[phase]) if phase in measured else moments

    return Durations(
        wait=updated(durations.wait, Phase.WAIT),
        queue=updated(durations.queue, Phase.QUEUE),
        start=updated(durations.start, Phase.START),
        execution=updated(durations.execution, Phase.EXECUTION),
    )
