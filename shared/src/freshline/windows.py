"""Time windows: which partitions an asset has at a time, and up to when their data reaches.

The windows are those of Dagster's `TimeWindowPartitionsDefinition`, which is asked for every one of
them: its rules for the hours in which clocks change are not worth having twice. Dagster is imported
when the first window is asked for. Every point in time is UTC in epoch seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from dagster import TimeWindowPartitionsDefinition

__all__ = ["Window", "Windows"]

_SAMPLE: Final = 40
"""So many windows in a row are looked at for the longest: enough for months and for clock changes
of daily windows."""


class Window(NamedTuple):
    """A time from `start` until just before `end`."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Windows:
    """The time windows of a partitioned asset, as Dagster defines them."""

    cron: str
    start: float
    """No window begins before it."""
    fmt: str = "%Y-%m-%d"
    """The format of the partition keys: the beginning of the window, in local time."""
    timezone: str = "UTC"
    end: float | None = None
    """No window ends after it; None: there are always more."""
    end_offset: int = 0
    """How many windows exist beyond the last one that has closed; below 0: that many fewer."""
    shift: int = 0
    """By how many windows the data of a partition is older than its name: below 0 if it reads only
    earlier partitions of its inputs."""

    # --- which there are --------------------------------------------------------------------

    def existing(self, after: float, now: float) -> list[Window]:
        """Return the windows that have partitions at `now` and end after `after`, in order.

        Windows that begin after `now` are left out: they have no rows yet.
        """
        known = self._calendar
        first = max(known.index_at(after), known.index_from(self.start))
        return [known.window(index) for index in range(first, self._last(now) + 1)]

    def last(self, now: float) -> Window:
        """Return the last window that exists at `now`, as if there were some before the first."""
        return self._calendar.window(self._last(now))

    def longest(self, now: float) -> float:
        """Return the length in seconds of the longest window around `now`."""
        known = self._calendar
        index = known.index_at(now)
        lengths = (known.window(index - number) for number in range(_SAMPLE))
        return max(window.end - window.start for window in lengths)

    def shifted(self, window: Window, start_offset: int, end_offset: int) -> Window:
        """Return `window` with its start and its end moved by so many windows."""
        known = self._calendar
        start = known.index_at(window.start) + start_offset
        end = known.index_at(window.end) + end_offset
        return Window(known.window(start).start, known.window(end).start)

    def data_of(self, window: Window) -> Window:
        """Return the time whose rows the partition of `window` brings."""
        return self.shifted(window, self.shift, self.shift) if self.shift else window

    # --- up to when they reach ------------------------------------------------------------------

    def reach(self, data_time: float) -> float:
        """Return the data time of the asset when it has all that was there at `data_time`.

        That is the end of the last window that has closed then. If the partition of the open window
        can be made too, it is `data_time` itself.
        """
        if self.has_open_window and (self.end is None or data_time < self.end):
            return data_time
        known = self._calendar
        last = self._last(data_time)
        if last < known.index_from(self.start):
            return self.data_of(self.first).start
        return self.data_of(known.window(last)).end

    def next_reach(self, data_time: float) -> float:
        """Return from when on a version can have a later data time than `data_time`; inf: never.

        `data_time` is one that the asset has.
        """
        known = self._calendar
        if self.end is not None:
            final = known.window(known.index_at(self.end) - 1)
            if data_time >= self.data_of(final).end:
                return inf
        if self.has_open_window:
            return data_time
        index = known.index_at(max(data_time, self.data_of(self.first).start))
        return known.window(index - self.shift - min(0, self.end_offset)).end

    @property
    def first(self) -> Window:
        """The first window."""
        return self._calendar.window(self._calendar.index_from(self.start))

    @property
    def has_open_window(self) -> bool:
        """Whether the partition of the window that is open can be made, and has its own rows."""
        return self.end_offset > 0 and not self.shift

    def _last(self, now: float) -> int:
        """Return the number of the last window that exists at `now` and does not begin later."""
        known = self._calendar
        last = known.index_at(now) + min(0, self.end_offset - 1)
        return last if self.end is None else min(last, known.index_at(self.end) - 1)

    # --- how they are named ------------------------------------------------------------------

    def key(self, window: Window) -> str:
        """Return the partition key of `window`."""
        return self._calendar.definition.get_partition_key_for_timestamp(window.start)

    def window(self, key: str) -> Window | None:
        """Return the window of a partition key; None: it is not such a key."""
        try:
            found = self._calendar.definition.time_window_for_partition_key(key)
        except ValueError:
            return None
        return Window(found.start.timestamp(), found.end.timestamp())

    @property
    def _calendar(self) -> _Calendar:
        return _calendar(self.cron, self.timezone, self.fmt)


@lru_cache(maxsize=1_000)
def _calendar(cron: str, timezone: str, fmt: str) -> _Calendar:
    return _Calendar(cron, timezone, fmt)


class _Calendar:
    """All windows of a cron: remembers those that were asked for, and all between them.

    Windows are numbered from a fixed one on, to both sides.
    """

    def __init__(self, cron: str, timezone: str, fmt: str) -> None:
        from dagster import TimeWindowPartitionsDefinition

        self.definition: TimeWindowPartitionsDefinition = TimeWindowPartitionsDefinition(
            start=datetime.fromtimestamp(0, UTC), fmt=fmt, cron_schedule=cron, timezone=timezone
        )
        self._starts: list[float] = []
        """The beginnings of windows, without a gap."""
        self._offset = 0
        """The number of the first of them."""

    def index_at(self, time: float) -> int:
        """Return the number of the window that `time` is in."""
        self._cover(time)
        return bisect_right(self._starts, time) - 1 + self._offset

    def index_from(self, time: float) -> int:
        """Return the number of the first window that does not begin before `time`."""
        self._cover(time)
        return bisect_left(self._starts, time) + self._offset

    def window(self, index: int) -> Window:
        """Return the window with this number."""
        while index < self._offset:
            self._extend_back()
        while index + 1 - self._offset >= len(self._starts):
            self._extend()
        place = index - self._offset
        return Window(self._starts[place], self._starts[place + 1])

    def _cover(self, time: float) -> None:
        if not self._starts:
            self._starts.append(_next(self.definition, time - 1.0).start)
        while time < self._starts[0]:
            self._extend_back()
        while time >= self._starts[-1]:
            self._extend()

    def _extend(self) -> None:
        self._starts.append(_next(self.definition, self._starts[-1]).end)

    def _extend_back(self) -> None:
        at = datetime.fromtimestamp(self._starts[0], UTC)
        before = self.definition.get_prev_partition_window(at, respect_bounds=False)
        if before is None:
            raise ValueError(f"no window before {at}")
        self._starts.insert(0, before.start.timestamp())
        self._offset -= 1


def _next(definition: TimeWindowPartitionsDefinition, time: float) -> Window:
    """Return the first window that does not begin before `time`."""
    at = datetime.fromtimestamp(time, UTC)
    found = definition.get_next_partition_window(at, respect_bounds=False)
    if found is None:
        raise ValueError(f"no window after {at}")
    return Window(found.start.timestamp(), found.end.timestamp())
