"""The partitions of one simulated asset: which there are, what they hold, and up to when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from freshline.model import Asset, Part, Pending
from freshline.simulate.data import Data, Read, WindowsRead
from freshline.windows import Window, Windows

__all__ = ["Partition", "Partitions"]

_MOMENT = 1e-3
"""Seconds: a window that ends so much earlier ends before, whatever floats make of it."""


@dataclass(slots=True)
class Partition:
    """What was made of one partition, and what a run is making of it."""

    name: str
    """Its partition key."""
    window: Window | None
    rows: Window | None
    """The time whose rows it brings."""
    key: str
    """Its key in the dimension without time, if there is one."""
    data: Data | None = None
    version: int = 0
    at: float = 0.0
    """When that version was made."""
    pending: Pending | None = None
    failures: int = 0
    failed_at: float | None = None
    last_run_id: str = ""

    def part(self, moves: int) -> Part:
        """Return it as a history reports it."""
        return Part(
            name=self.name,
            window=self.window,
            data_time=self.data.time(moves) if self.data else None,
            version=self.version,
            made_at=self.at if self.version else None,
            pending=self.pending,
            failures=self.failures,
            failed_at=self.failed_at,
            error="simulated failure" if self.failures else None,
            last_run_id=self.last_run_id,
            key=self.key,
        )


class Partitions:
    """All partitions of one asset. `moves` is explained at `Data.time`."""

    def __init__(self, asset: Asset, dynamic: Mapping[str, tuple[str, ...]]) -> None:
        self._windows = asset.windows
        self._keys: tuple[str, ...] = ("",)
        self._key_first = False
        if asset.keys:
            self._keys = asset.keys.static or dynamic.get(asset.keys.dynamic, ())
            self._key_first = asset.keys.first
        self._known: dict[str, Partition] = {}
        self._by_window: dict[tuple[Window, str], Partition] = {}
        promised_from = asset.promised_from or 0.0
        self._complete = dict.fromkeys(self._keys, promised_from)
        """For each key: windows that end until then are complete, or were never promised."""

    # --- which there are ------------------------------------------------------------------

    def partition(self, name: str) -> Partition:
        """Return the partition whose key is `name`."""
        known = self._known.get(name)
        if known is not None:
            return known
        window, key = name, ""
        if self._windows is None:
            window, key = "", name
        elif self._keys != ("",):
            one, _, other = name.partition("|")
            window, key = (other, one) if self._key_first else (one, other)
        dates = self._windows.window(window) if self._windows else None
        rows = self._windows.data_of(dates) if self._windows and dates else None
        known = self._known[name] = Partition(name, dates, rows, key)
        return known

    def of_window(self, window: Window, key: str) -> Partition:
        """Return the partition of a time window, and of a key if there are keys as well."""
        known = self._by_window.get((window, key))
        if known is None:
            name = self._dated.key(window)
            if key:
                name = f"{key}|{name}" if self._key_first else f"{name}|{key}"
            known = self._by_window[window, key] = self.partition(name)
        return known

    def parts(self, now: float, moves: int) -> tuple[Part, ...]:
        """Return the partitions that runs may still have to make, as a history reports them."""
        if self._windows is None:
            return tuple(self.partition(key).part(moves) for key in self._keys)
        found = [one for key in self._keys for one in self._incomplete(key, now, moves)]
        found.sort(key=lambda one: one.window or (0.0, 0.0))
        return tuple(one.part(moves) for one in found)

    def is_complete(self, partition: Partition, moves: int) -> bool:
        """Return whether no row can be missing in `partition`."""
        if partition.rows is None or partition.data is None:
            return False
        value = partition.data.time(moves)
        return value is not None and value >= partition.rows.end

    def _incomplete(
        self, key: str, now: float, moves: int, begin: float = -inf
    ) -> Iterator[Partition]:
        """Yield the partitions of `key` that end after `begin` and are not complete, in order."""
        in_a_row = True
        for window in self._dated.existing(max(self._complete[key], begin), now):
            one = self.of_window(window, key)
            if not self.is_complete(one, moves):
                in_a_row = False
                yield one
            elif in_a_row and begin <= self._complete[key]:
                self._complete[key] = window.end

    @property
    def _dated(self) -> Windows:
        if self._windows is None:
            raise ValueError("there are no time windows")
        return self._windows

    # --- up to when -----------------------------------------------------------------------

    def data_time(self, now: float, moves: int) -> float | None:
        """Return up to when nothing is missing; None: unknown."""
        times = [read.time(moves) if read else None for read in self.read(now, moves)]
        return None if None in times else min([time for time in times if time is not None])

    def last_data_time(self, now: float, moves: int) -> float | None:
        """Return up to when nothing is missing in the last partition; None: there is none."""
        times = [read.time(moves) for read in self.read_last(now) if read]
        return min([time for time in times if time is not None], default=None)

    # --- what a run reads of it -------------------------------------------------------------

    def read(self, now: float, moves: int, only: str = "") -> list[Read]:
        """Return all partitions as they are now, or only those of one key."""
        keys = (only,) if only in self._complete else self._keys
        if self._windows is None:
            return [self.partition(key).data for key in keys] or [None]
        reach = self._windows.reach(now)
        reads: list[Read] = [
            WindowsRead(_rows(self._incomplete(key, now, moves)), reach) for key in keys
        ]
        return reads or [None]

    def read_last(self, now: float, only: str = "") -> list[Read]:
        """Return the last partition as it is now, of each key or only of one."""
        keys = (only,) if only in self._complete else self._keys
        if self._windows is None:
            return [self.partition(key).data for key in keys[-1:]] or [None]
        windows = self._windows
        until = now if windows.end is None else min(now, windows.end)
        length = windows.longest(until) * (1 - min(0, windows.end_offset))
        existing = windows.existing(until - length - _MOMENT, now)
        reads: list[Read] = []
        for key in keys if existing else ():
            last = self.of_window(existing[-1], key)
            reads.append(WindowsRead(_rows([last]), windows.data_of(existing[-1]).end))
        return reads

    def read_span(
        self, span: Window, rows: Window, now: float, moves: int, only: str = ""
    ) -> list[Read]:
        """Return the partitions of the windows in `span` as they are now.

        They do not age what is made from them, which brings `rows`, if they are all there and
        complete.
        """
        windows = self._dated
        if span.end <= windows.start:
            return []
        keys = (only,) if only in self._complete else self._keys
        end = span.end if windows.end is None else min(span.end, windows.end)
        otherwise, further = inf, max(0.0, windows.data_of(span).end - rows.end)
        if not windows.existing(end - _MOMENT, now):
            first = windows.shifted(span, windows.shift, windows.shift)
            otherwise = max(windows.reach(now), first.start)
        return [
            WindowsRead(
                _rows(
                    one
                    for one in self._incomplete(key, now, moves, begin=span.start)
                    if one.window and one.window.start < end
                ),
                otherwise,
                further,
            )
            for key in keys
        ]

    def newest_at(self, span: Window | None = None) -> float | None:
        """Return when the newest version was made: of all partitions, or of those in `span`."""
        return max(
            (
                one.at
                for one in self._known.values()
                if one.version
                and (
                    span is None
                    or one.window is None
                    or (span.start < one.window.end and one.window.start < span.end)
                )
            ),
            default=None,
        )


def _rows(partitions: Iterable[Partition]) -> Iterator[tuple[Window, Data | None]]:
    for one in partitions:
        if one.rows is not None:
            yield one.rows, one.data
