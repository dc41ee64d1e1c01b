"""When a promise was broken, for how long, and what held the target up then.

The causes are those that plans said at the time: the recorded results of the check `maximum_lag`.
The location of a target records them. While it is down nothing is recorded, so its silence counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from freshline.history.past import Silence, Verdict
from freshline.model import Phase, TargetStatus
from freshline.report.lag import Interval, Lag

__all__ = ["Breach", "Cause", "breaches_of", "share_of_causes"]

_RECORDED_WITHIN: Final = 60.0
"""Seconds in which a breach is recorded, if the location of the target is up: some ticks."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What held a target up in a part of a breach."""

    location: str
    """"" if it is not known. So is the asset."""
    asset: str
    phase: Phase | None
    reason: str
    """What the plan said, as a sentence."""
    seconds: float
    """How long, within the breach."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A time without a break in which a promise was broken."""

    target: str
    interval: Interval
    longest: float | None
    """The longest lag in it; None: it was not known."""
    causes: Sequence[Cause]
    """The one that held longest comes first."""


def breaches_of(
    target: str, location: str, lag: Lag, verdicts: Iterable[Verdict], silences: Iterable[Silence]
) -> list[Breach]:
    """Return the breaches of a target of `location`, the oldest first.

    `verdicts` are those on the target, in order of time.
    """
    said = list(verdicts)
    quiet = [
        Interval(silence.begin, inf if silence.end is None else silence.end)
        for silence in silences
        if silence.location == location
    ]
    return [
        Breach(target, interval, _longest(lag, interval), _causes(interval, location, said, quiet))
        for interval in lag.late
    ]


def _longest(lag: Lag, interval: Interval) -> float | None:
    lags = [
        it.lag_at(it.end)
        for it in lag.stretches
        if interval.begin < it.end <= interval.end and it.data_time is not None
    ]
    return max((one for one in lags if one is not None), default=None)


def _causes(
    interval: Interval, location: str, verdicts: Sequence[Verdict], quiet: Sequence[Interval]
) -> list[Cause]:
    seconds: dict[tuple[str, str, Phase | None], float] = {}
    reasons: dict[tuple[str, str, Phase | None], str] = {}
    for part, cause, reason in _parts(interval, location, verdicts, quiet):
        seconds[cause] = seconds.get(cause, 0.0) + part.seconds
        reasons[cause] = reason  # the last sentence: since when, and how often, are newer there
    return [
        Cause(*cause, reasons[cause], taken)
        for cause, taken in sorted(seconds.items(), key=lambda item: -item[1])
    ]


def _parts(
    interval: Interval, location: str, verdicts: Sequence[Verdict], quiet: Sequence[Interval]
) -> Iterator[tuple[Interval, tuple[str, str, Phase | None], str]]:
    """Yield the parts of a breach, each with what held the target up and a sentence about that."""
    silent = location, "", Phase.SILENT
    cuts = {interval.begin, interval.end}
    cuts.update(verdict.at for verdict in verdicts)
    cuts.update(time for one in quiet for time in one)
    times = sorted(time for time in cuts if interval.begin <= time <= interval.end)
    for part in map(Interval, times, times[1:]):
        if any(one.begin <= part.begin < one.end for one in quiet):
            yield part, silent, f"{location} was not heard of"
            continue
        verdict = _in_force(part.begin, interval, verdicts)
        if verdict is None:
            yield part, ("", "", None), "not recorded"
        else:
            yield part, (verdict.location, verdict.asset, verdict.phase), verdict.reason


def _in_force(at: float, breach: Interval, verdicts: Sequence[Verdict]) -> Verdict | None:
    """Return the verdict that says why a target was late at the time `at`; None: there is none."""
    before = [verdict for verdict in verdicts if verdict.at <= at]
    if before and before[-1].status is not TargetStatus.FRESH:
        return before[-1]
    # A breach is seen at the next tick, so its first seconds belong to what is said then.
    soon = min(breach.end, at + _RECORDED_WITHIN)
    return next(
        (
            verdict
            for verdict in verdicts
            if at < verdict.at <= soon and verdict.status is not TargetStatus.FRESH
        ),
        None,
    )


def share_of_causes(breaches: Iterable[Breach]) -> Mapping[str, float]:
    """Return the seconds of breaches by the location that caused them; "": it is not known."""
    seconds: dict[str, float] = {}
    for breach in breaches:
        for cause in breach.causes:
            seconds[cause.location] = seconds.get(cause.location, 0.0) + cause.seconds
    return seconds
