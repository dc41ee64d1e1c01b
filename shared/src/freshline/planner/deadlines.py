"""When does a version of a given data time become too old for a policy?"""

from __future__ import annotations

from bisect import bisect, insort
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]  # it ships no types

from freshline.policy import MaxLag

__all__ = ["deadline", "next_tick", "overdue"]


def deadline(policy: MaxLag, data_time: float) -> float:
    """Return the last time (epoch seconds) at which a version of that data time is good enough.

    With a cron, that is the first of its ticks at which the version is too old: newer data must
    be there at that tick, and is not needed before it.
    """
    limit = data_time + policy.minutes * 60.0
    return limit if policy.cron is None else next_tick(policy.cron, policy.timezone, limit)


def overdue(policy: MaxLag, data_time: float, now: float) -> bool:
    """Return whether a version of that data time is too old for `policy` at `now`."""
    limit = deadline(policy, data_time)
    return now > limit if policy.cron is None else now >= limit


def next_tick(cron: str, timezone: str | None, after: float) -> float:
    """Return the first tick of `cron` after the time `after`, both in epoch seconds.

    `timezone` is the IANA name of the time zone that the cron is read in; None: UTC.
    """
    return _ticks(cron, timezone or "UTC").following(after)


@lru_cache(maxsize=1_000)
def _ticks(cron: str, zone: str) -> _Ticks:
    return _Ticks(cron, zone)


class _Ticks:
    """Remembers the ticks of a cron: each takes half a millisecond to work out, and a plan asks for
    thousands."""

    _REMEMBERED = 10_000

    def __init__(self, cron: str, zone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(zone)
        self._known: list[tuple[float, float]] = []
        """Sorted pairs: a time, and the first tick after it. There is no tick between the two."""

    def following(self, time: float) -> float:
        """Return the first tick after `time`."""
        place = bisect(self._known, (time, inf))
        if place and time < self._known[place - 1][1]:
            return self._known[place - 1][1]
        begin = datetime.fromtimestamp(time, UTC).astimezone(self._zone)
        ticks = croniter(self._cron, begin)
        following = float(ticks.get_next(float))
        previous = float(ticks.get_prev(float))
        if len(self._known) >= self._REMEMBERED:
            self._known.clear()
        insort(self._known, (min(time, previous), following))
        return following
