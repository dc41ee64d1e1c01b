"""Until when data of a given age is good enough for a policy."""

from __future__ import annotations

from bisect import bisect, insort
from datetime import datetime, timezone
from math import inf
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]  # it ships no types

from freshline.policy import MaxLag

__all__ = ["deadline", "overdue"]


def deadline(policy: MaxLag, data_time: float) -> float:
    """The last moment (epoch seconds) at which a version of that data time satisfies `policy`.

    With a cron, the first of its ticks at which the version would be too old: newer data must
    be there at that tick, and until then nothing is asked.
    """
    limit = data_time + policy.minutes * 60.0
    if policy.cron is None:
        return limit
    return _tick_after(policy.cron, policy.timezone or "UTC", limit)


def overdue(policy: MaxLag, data_time: float, now: float) -> bool:
    """Whether a version of that data time fails `policy` now."""
    limit = deadline(policy, data_time)
    return now > limit if policy.cron is None else now >= limit


_MANY = 10_000
_periods: dict[tuple[str, str], list[tuple[float, float]]] = {}
"""For each cron and time zone, sorted: times between two ticks, as far as they were needed.
Working one out takes half a millisecond, and a plan asks for thousands."""


def _tick_after(cron: str, zone: str, moment: float) -> float:
    """The first tick of `cron` after `moment`."""
    known = _periods.setdefault((cron, zone), [])
    place = bisect(known, (moment, inf))
    if place and moment < known[place - 1][1]:
        return known[place - 1][1]
    begin = datetime.fromtimestamp(moment, timezone.utc).astimezone(ZoneInfo(zone))
    ticks = croniter(cron, begin)
    following = float(ticks.get_next(float))
    previous = float(ticks.get_prev(float))
    if len(known) >= _MANY:
        known.clear()
    insort(known, (min(moment, previous), following))
    return following
