"""What runs took: measured by phase, remembered as running moments.

Shared by `history` (from the event log) and `simulate` (from the virtual clock), so that the
planner sees the same figures in both.
"""

from __future__ import annotations

from collections.abc import Mapping

from freshline.model import Durations, Moments, Phase

__all__ = ["MEMORY", "including", "measure", "remember"]

MEMORY = 100
"""Runs after which a new one weighs 1/100: older ones fade, a changed source is learnt in some
twenty runs, and the spread of a steady one is known to about a twentieth."""

_OUTLIER = 3.0
_OUTLIER_SPREAD = 6.0


def including(moments: Moments | None, seconds: float) -> Moments:
    """`moments` with one more duration (seconds); the newest `MEMORY` or so dominate.

    A duration far beyond everything before it (a laptop that slept during a sync) counts as
    three times the mean and six deviations at most. One accident must not make a policy look
    impossible for a day; a lasting change is still learnt, as each run raises the limit.
    """
    seconds = max(0.0, seconds)
    if moments is None or moments.count == 0:
        return Moments(1, seconds, 0.0)
    if moments.count >= 3 and moments.mean > 0:
        limit = _OUTLIER * moments.mean + _OUTLIER_SPREAD * float(moments.variance**0.5)
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
) -> dict[Phase, float]:
    """How long (seconds) each phase of one successful materialization took.

    `ready_at` is when the last of its inputs was materialized, None for an asset without
    inputs: only what came after it counts. An input made in the same run leaves no wait and
    no start, only execution. A wait longer than `tick` was a decision, not a delay, and
    counts as `tick`.
    """
    ready = requested_at if ready_at is None else ready_at

    def between(begin: float, end: float) -> float:
        return max(0.0, end - max(begin, ready))

    measured = {
        Phase.QUEUE: between(requested_at, launched_at),
        Phase.START: between(launched_at, started_at),
        Phase.EXECUTION: between(started_at, materialized_at),
    }
    if ready_at is not None:
        measured[Phase.WAIT] = min(tick, max(0.0, requested_at - ready_at))
    return measured


def remember(durations: Durations, measured: Mapping[Phase, float]) -> Durations:
    """`durations` with one more run's phases."""

    def grown(moments: Moments | None, phase: Phase) -> Moments | None:
        return including(moments, measured[phase]) if phase in measured else moments

    return Durations(
        wait=grown(durations.wait, Phase.WAIT),
        queue=grown(durations.queue, Phase.QUEUE),
        start=grown(durations.start, Phase.START),
        execution=grown(durations.execution, Phase.EXECUTION),
    )
