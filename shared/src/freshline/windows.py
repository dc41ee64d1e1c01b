"""Time windows: which partitions an asset has at a time, and up to when their data reaches.

The windows are those of Dagster's `TimeWindowPartitionsDefinition`, which is asked for every one of
them: its rules for the hours in which clocks change are not worth having twice. Dagster is imported
when the first window is asked for. Every point in time is UTC in epoch seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice, pairwise
from math import inf, nextafter
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from dagster import TimeWindowPartitionsDefinition

__all__ = ["Window", "Windows"]

_SAMPLE: Final = 40
"""So many windows in a row are looked at for the longest: enough for months and for clock changes
of daily windows."""
_NAMED: Final = 12
"""So many windows in a row are looked at for two with the same name."""
_STEP: Final = 50
"""So many windows more are asked for at once if one is not known yet."""


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

    @property
    def problem(self) -> str | None:
        """Why they cannot be followed, as the end of a sentence; None: they can.

        They may be those of a location that has another Dagster, or knows other time zones.
        """
        return _problem(self)

    # --- which there are --------------------------------------------------------------------

    def existing(self, after: float, now: float) -> list[Window]:
        """Return the windows that have partitions at `now` and end after `after`, in order.

        Windows that begin after `now` are left out: they have no rows yet.
        """
        known = self._calendar
        first = known.index_at(after) if after > self.start else self._first
        if known.window(first).start < self.start:
            first = self._first
        return known.between(first, self._last(now))

    def last(self, now: float) -> Window:
        """Return the last window that exists at `now`, as if there were some before the first."""
        return self._calendar.window(self._last(now))

    def at(self, time: float) -> Window:
        """Return the window that `time` is in, whether its partition exists or not."""
        return self._calendar.window(self._calendar.index_at(time))

    def longest(self, now: float) -> float:
        """Return the length in seconds of the longest window around `now`."""
        return self._calendar.longest(now)

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

    def reach(self, data_time: float, now: float | None = None) -> float:
        """Return the data time of the asset when it has all that was there at `data_time`.

        That is the end of the last window whose data had closed then, of those that exist at `now`
        (by default, at `data_time`). If the partition of the open window can be made too, it is
        `data_time` itself. Before the first window there is nothing to miss.
        """
        if self.has_open_window and data_time < self._final_end:
            return data_time
        known = self._calendar
        closed = known.index_at(data_time) - 1 - self.shift
        last = min(closed, self._last(data_time if now is None else now))
        if known.window(last).start < self.start:
            return min(self.data_of(self.first).start, data_time)
        return self.data_of(known.window(last)).end

    def next_reach(self, data_time: float) -> float:
        """Return from when on a version can have a later data time than `data_time`; inf: never.

        `data_time` is one that the asset has.
        """
        known = self._calendar
        if data_time >= self._final_end:
            return inf
        if data_time < self.start:
            data_time = max(data_time, self.data_of(self.first).start)
        if self.has_open_window:
            return data_time
        # The partition with the next data exists when its own window has closed. That is as many
        # windows later as are missing at the end, or a window earlier if the open one exists.
        return known.window(known.index_at(data_time) - self.shift - min(1, self.end_offset)).end

    @property
    def first(self) -> Window:
        """The first window."""
        return self._calendar.window(self._first)

    @property
    def has_open_window(self) -> bool:
        """Whether the partition of the window that is open can be made, and has its own rows."""
        return self.end_offset > 0 and not self.shift

    @property
    def _first(self) -> int:
        return self._calendar.index_from(self.start)

    @property
    def _final_end(self) -> float:
        """Where the data of the last window ends that there will ever be; inf: there is none."""
        if self.end is None:
            return inf
        known = self._calendar
        final = known.index_at(self.end) - 1
        if known.window(final).start < self.start:
            return -inf
        return known.window(final + self.shift).end

    def _last(self, now: float) -> int:
        """Return the number of the last window that exists at `now` and does not begin later."""
        known = self._calendar
        last = known.index_at(now) + min(0, self.end_offset - 1)
        return last if self.end is None else min(last, known.index_at(self.end) - 1)

    # --- how they are named ------------------------------------------------------------------

    def key(self, window: Window) -> str:
        """Return the partition key of `window`."""
        return self._calendar.key(window)

    def window(self, key: str) -> Window | None:
        """Return the window of a partition key; None: it is not such a key."""
        return self._calendar.named(key)

    @property
    def _calendar(self) -> _Calendar:
        return _calendar(self.cron, self.timezone, self.fmt)


@lru_cache(maxsize=10_000)
def _problem(windows: Windows) -> str | None:
    from dagster import DagsterError

    try:
        known = _calendar(windows.cron, windows.timezone, windows.fmt)
        keys = known.some_keys(windows.start)
    except (DagsterError, LookupError, OSError, ValueError) as error:
        return f"its time windows cannot be followed here: {error}"
    if len(set(keys)) < len(keys):
        return f"several of its time windows have the same partition key {windows.fmt}"
    return None


@lru_cache(maxsize=1_000)
def _calendar(cron: str, timezone: str, fmt: str) -> _Calendar:
    return _Calendar(cron, timezone, fmt)


class _Calendar:
    """All windows of a cron: remembers those that were asked for, and all between them.

    Windows are numbered from a fixed one on, to both sides. Several threads may ask: a tick that
    Dagster has given up may still run when the next one begins.
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
        self._keys: dict[float, str] = {}
        """The keys of windows, by their beginning."""
        self._named: dict[str, Window | None] = {}
        self._longest: tuple[int, float] | None = None
        """The last answer of `longest`, with the number of the window that it was for."""
        self._lock = RLock()

    def longest(self, time: float) -> float:
        """Return the length in seconds of the longest of some windows until that of `time`."""
        index = self.index_at(time)
        if self._longest is None or self._longest[0] != index:
            windows = (self.window(index - number) for number in range(_SAMPLE))
            self._longest = index, max(window.end - window.start for window in windows)
        return self._longest[1]

    def some_keys(self, time: float) -> list[str]:
        """Return the partition keys of some windows in a row from about `time` on.

        It does not make the calendar know all windows from there until now.
        """
        windows = self._from(self._before(time).start, until=inf)
        return [self.key(window) for window in islice(windows, _NAMED)]

    def index_at(self, time: float) -> int:
        """Return the number of the window that `time` is in."""
        with self._lock:
            self._cover(time)
            return bisect_right(self._starts, time) - 1 + self._offset

    def index_from(self, time: float) -> int:
        """Return the number of the first window that does not begin before `time`."""
        with self._lock:
            self._cover(time)
            return bisect_left(self._starts, time) + self._offset

    def window(self, index: int) -> Window:
        """Return the window with this number."""
        return self.between(index, index)[0]

    def between(self, first: int, last: int) -> list[Window]:
        """Return the windows from number `first` to number `last`, both included."""
        with self._lock:
            while first < self._offset:
                self._cover(self._starts[0] - _STEP * self._length)
            while last + 1 - self._offset >= len(self._starts):
                self._cover(self._starts[-1] + _STEP * self._length)
            place = first - self._offset
            starts = self._starts[place : max(last - first + 2, 0) + place]
        return [Window(start, end) for start, end in pairwise(starts)]

    def key(self, window: Window) -> str:
        key = self._keys.get(window.start)
        if key is None:
            key = self.definition.get_partition_key_for_timestamp(window.start)
            self._keys[window.start] = key
        return key

    def named(self, key: str) -> Window | None:
        if key not in self._named:
            self._named[key] = self._find(key)
        return self._named[key]

    def _find(self, key: str) -> Window | None:
        try:
            found = self.definition.time_window_for_partition_key(key)
        except (ValueError, OverflowError):
            return None
        window = Window(found.start.timestamp(), found.end.timestamp())
        # Dagster takes the first window after a time in which none begins.
        return window if self.key(window) == key else None

    @property
    def _length(self) -> float:
        return self._starts[1] - self._starts[0]

    def _cover(self, time: float) -> None:
        """Know the windows from the one that `time` is in to those that are known, and one more."""
        if not self._starts:
            before = self._before(time)
            self._starts = [before.start, before.end]
        if time < self._starts[0]:
            begin = self._before(time).start
            older = [it.start for it in self._from(begin, until=self._starts[0])]
            self._starts[:0] = older
            self._offset -= len(older)
        elif time >= self._starts[-1]:
            newer = [it.end for it in self._from(self._starts[-1], until=nextafter(time, inf))]
            self._starts.extend(newer)

    def _before(self, time: float) -> Window:
        """Return the last window that has closed at `time`."""
        at = datetime.fromtimestamp(time, UTC)
        found = self.definition.get_prev_partition_window(at, respect_bounds=False)
        if found is None:
            raise ValueError(f"no window before {at}")
        return Window(found.start.timestamp(), found.end.timestamp())

    def _from(self, begin: float, until: float) -> Iterator[Window]:
        """Yield the windows from the one that begins at `begin` until `until`."""
        # What is public starts anew for each window, which costs as much as a hundred windows.
        for found in self.definition._iterate_time_windows(begin):  # noqa: SLF001 - see above
            window = Window(found.start.timestamp(), found.end.timestamp())
            if window.start >= until:
                return
            if window.start < window.end:  # a day that a zone has left out has none
                yield window
