"""Until when data of a given age is good enough for a policy."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
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


@lru_cache(maxsize=65536)
def _tick_after(cron: str, zone: str, moment: float) -> float:
    begin = datetime.fromtimestamp(moment, timezone.utc).astimezone(ZoneInfo(zone))
    return float(croniter(cron, begin).get_next(float))
