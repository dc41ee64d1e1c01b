"""The lag of one target over time: exact, for it grows with the clock and falls with each version.

Every point in time is UTC in epoch seconds, every duration is in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import NamedTuple

from freshline.history.past import Change, Period
from freshline.planner import next_tick
from freshline.planner.deadlines import deadline
from freshline.policy import MaxLag

__all__ = ["Interval", "Lag", "Stretch", "lag_of", "whole_times"]


class Interval(NamedTuple):
    """The time from `begin` to `end`."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin

    def overlap(self, other: Interval) -> float:
        """Return how many seconds are in both."""
        return max(0.0, min(self.end, other.end) - max(self.begin, other.begin))


class Stretch(NamedTuple):
    """A time in which the data of a target stayed the same, so that its lag grew."""

    begin: float
    end: float
    data_time: float | None
    """None: unknown, or there was no version."""

    def lag_at(self, at: float) -> float | None:
        """Return the lag at a time of the stretch; None: unknown."""
        return None if self.data_time is None else max(0.0, at - self.data_time)


@dataclass(frozen=True)
class Lag:
    """The lag of a target in the times of which something is known."""

    policy: MaxLag
    stretches: Sequence[Stretch]

    @property
    def maximum(self) -> float:
        """The maximum lag."""
        return self.policy.minutes * 60.0

    @cached_property
    def seconds(self) -> float:
        """How many seconds are known."""
        return sum(stretch.end - stretch.begin for stretch in self.stretches)

    @cached_property
    def late(self) -> list[Interval]:
        """When the promise was broken: the lag was too long, or there was no version.

        With a cron, that begins at the first of its ticks at which the lag was too long.
        """
        found: list[Interval] = []
        for begin, end, data_time in self.stretches:
            good_until = -inf if data_time is None else deadline(self.policy, data_time)
            since = max(begin, good_until)
            if since >= end:
                continue
            if found and since <= found[-1].end:
                found[-1] = Interval(found[-1].begin, end)
            else:
                found.append(Interval(since, end))
        return found

    @cached_property
    def judged(self) -> float:
        """How much was judged: seconds; with a cron, ticks."""
        return self.seconds if self.policy.cron is None else float(len(self._ticks))

    @cached_property
    def broken(self) -> float:
        """How much of that was late: seconds; with a cron, ticks."""
        if self.policy.cron is None:
            return sum(interval.seconds for interval in self.late)
        return float(sum(self._is_late(tick) for tick in self._ticks))

    @property
    def within(self) -> float | None:
        """The share that was not late, from 0 to 1; None: nothing was judged."""
        return 1.0 - self.broken / self.judged if self.judged else None

    def budget_left(self, objective: float) -> float | None:
        """Return the share of the error budget that is left; below 0: more than all was used.

        `objective` is the share, below 1, in which the promise is to be kept. None: nothing was
        judged.
        """
        if not self.judged:
            return None
        return 1.0 - self.broken / ((1.0 - objective) * self.judged)

    @cached_property
    def _ticks(self) -> list[float]:
        """The ticks of the cron in the time that is known."""
        policy, found = self.policy, list[float]()
        if policy.cron is None:
            return found
        for begin, end, _ in self.stretches:
            tick = next_tick(policy.cron, policy.timezone, begin - 1e-3)
            while tick < end:
                found.append(tick)
                tick = next_tick(policy.cron, policy.timezone, tick)
        return found

    def _is_late(self, at: float) -> bool:
        return any(interval.begin <= at < interval.end for interval in self.late)

    # --- the distribution -----------------------------------------------------------------

    @cached_property
    def unknown(self) -> float:
        """The seconds in which the lag was not known."""
        return sum(end - begin for begin, end, data_time in self.stretches if data_time is None)

    @cached_property
    def longest(self) -> float | None:
        """The longest lag; None: it was never known."""
        known = [it.lag_at(it.end) for it in self.stretches if it.data_time is not None]
        return max((lag for lag in known if lag is not None), default=None)

    def seconds_up_to(self, lag: float) -> float:
        """Return for how many seconds the lag was at most `lag`."""
        found = 0.0
        for begin, end, data_time in self.stretches:
            if data_time is not None:
                found += max(0.0, min(end, data_time + lag) - begin)
        return found

    def quantile(self, share: float) -> float | None:
        """Return the lag that was not exceeded for this share of time; None: it is unknown."""
        wanted = share * self.seconds
        spans = [
            (max(0.0, begin - data_time), max(0.0, end - data_time), end - begin)
            for begin, end, data_time in self.stretches
            if data_time is not None
        ]
        # From the shortest lag up: how many stretches have it, and how many seconds are below it.
        turns = [(low, 1) for low, high, _ in spans if high > low]
        turns += [(high, -1) for low, high, _ in spans if high > low]
        below = sum(seconds - (high - low) for low, high, seconds in spans)
        at, growing = 0.0, 0
        for lag, change in sorted(turns):
            if below + growing * (lag - at) >= wanted and growing:
                return at + (wanted - below) / growing
            below += growing * (lag - at)
            at, growing = lag, growing + change
        return at if spans and below >= wanted - 1e-6 else None


def lag_of(changes: Iterable[Change], policy: MaxLag, times: Iterable[Interval]) -> Lag:
    """Return the lag of a target in `times`, in which its history is known.

    `changes` are those of its data time, in the order of their events.
    """
    points: list[tuple[float, float | None]] = []
    for change in changes:
        # The order of the log counts; the clocks of the hosts that wrote it may differ.
        at = max(change.at, points[-1][0]) if points else change.at
        points.append((at, change.data_time))
    ends = [*(at for at, _ in points[1:]), inf]
    found: list[Stretch] = []
    for time in times:
        for (at, data_time), until in zip(points, ends, strict=False):
            begin, end = max(at, time.begin), min(until, time.end)
            if begin < end:
                found.append(Stretch(begin, end, data_time))
    return Lag(policy, found)


def whole_times(periods: Iterable[Period], begin: float, end: float) -> list[Interval]:
    """Return the times from `begin` to `end` that lie in `periods`; what joins is one time."""
    found: list[Interval] = []
    for period in sorted(periods, key=lambda period: period.begin):
        since, until = max(period.begin, begin), min(period.end, end)
        if since >= until:
            continue
        if found and since <= found[-1].end:
            found[-1] = Interval(found[-1].begin, max(until, found[-1].end))
        else:
            found.append(Interval(since, until))
    return found
