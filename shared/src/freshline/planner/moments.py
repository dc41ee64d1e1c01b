"""How long the phases of runs took: count, mean and variance, brought up to date run by run.

Shared by `history` (from the event log) and `simulate` (from the virtual clock), so that the
planner sees the same figures in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from freshline.model import Durations, Moments, Phase

__all__ = ["MEMORY", "including", "measure", "remember"]

MEMORY = 100
"""From so many runs on, a new one weighs 1/100, and older ones fade. A change of a source is learnt
in some twenty runs, and the spread of a steady one is known to about a twentieth."""

_OUTLIER_MEANS = 3.0
_OUTLIER_DEVIATIONS = 6.0
"""No run counts for more than so many means and standard deviations together."""


def including(moments: Moments | None, seconds: float) -> Moments:
    """Return `moments` with one more duration (seconds); the newest `MEMORY` or so dominate.

    A duration far beyond all before it, of a laptop that slept during a sync for example, counts
    as three means and six standard deviations at most. One accident must not make a policy look
    infeasible for a day. A lasting change is still learnt: each run raises the limit.
    """
    seconds = max(0.0, seconds)
    if moments is None or moments.count == 0:
        return Moments(1, seconds, 0.0)
    if moments.count >= 3 and moments.mean > 0:
        limit = _OUTLIER_MEANS * moments.mean + _OUTLIER_DEVIATIONS * float(moments.variance**0.5)
        seconds = min(seconds, limit)
    count = moments.count + 1
    weight = 1.0 / min(count, MEMORY)
    surprise = seconds - moments.mean
    return Moments(
        count,
        moments.mean + weight * surprise,
        (1.0 - weight) * (moments.variance + weight * surprise * surprise),
    )


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
    """
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
