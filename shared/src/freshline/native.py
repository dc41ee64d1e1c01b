"""Dagster's own freshness policies: which one says no more than a `MaxLag` does?

Dagster's UI shows them, and its daemon judges by them. They know when an asset was materialized,
not how old its data is. One is attached only if it never fails where the lag is within the maximum,
so that the UI does not give two verdicts on one asset. There is one exception: while nothing
changes upstream, nothing is made, and Dagster's policy fails although the data is as new as can be.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from dagster import FreshnessPolicy
from dagster_shared.check import CheckError

from freshline.planner import next_tick
from freshline.policy import MaxLag

__all__ = ["native_policy"]

_SHORTEST_WINDOW: Final = timedelta(minutes=1)
"""Dagster refuses shorter ones."""

_YEARS: Final = 10
"""So many years are searched for changes of the clocks, the last one among them."""

_DAY: Final = 86_400


def native_policy(policy: MaxLag) -> FreshnessPolicy | None:
    """Return Dagster's policy that is kept whenever `policy` is; None: it can say none.

    It has none for a maximum below a minute, and with a cron none for

    - a maximum that is longer than the time between two ticks: a version that is not replaced at a
      tick, because it may be older, would fail there;
    - ticks at the hour in which the clocks of the time zone change: Dagster may read them otherwise
      than `planner.next_tick`, or not at all.
    """
    window = timedelta(minutes=policy.minutes)
    if window < _SHORTEST_WINDOW:
        return None
    if policy.cron is None:
        return FreshnessPolicy.time_window(window)
    zone = policy.timezone or "UTC"
    if _has_ticks_at_changes(policy.cron, zone):
        return None
    try:
        return FreshnessPolicy.cron(policy.cron, window, zone)
    except CheckError:
        return None  # the maximum is longer than the shortest time between two ticks


@lru_cache(maxsize=1_000)
def _has_ticks_at_changes(cron: str, zone: str) -> bool:
    """Return whether `cron` has a tick within a change's size of a change of the clocks."""
    return any(
        next_tick(cron, zone, at - size - 1) <= at + size for at, size in _clock_changes(zone)
    )


@lru_cache(maxsize=1_000)
def _clock_changes(zone: str) -> tuple[tuple[int, int], ...]:
    """Return when the clocks of `zone` change in these years, and by how much, in seconds."""
    return tuple(_find_clock_changes(ZoneInfo(zone)))


def _find_clock_changes(zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    def offset(at: int) -> timedelta:
        return datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset() or timedelta(0)

    # From a year ago on: so long ago may the last tick of a cron be.
    first = int(time.time()) - 366 * _DAY
    before = offset(first)
    for day in range(first, first + _YEARS * 366 * _DAY, _DAY):
        after = offset(day + _DAY)
        if after != before:
            seconds = range(day, day + _DAY)
            since = bisect_left(seconds, True, key=lambda second: offset(second) == after)
            yield day + since, abs(int((after - before).total_seconds()))
        before = after
