"""What simulated versions hold: up to when it is complete, and what it was made from.

When a source turns out not to have changed, its data was seen later than before. What was made
from it moves on without a run, because a version refers to the data that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from freshline.model import data_time_of
from freshline.windows import Window

__all__ = ["Data", "Read", "WindowsRead"]


class WindowsRead:
    """The partitions of one asset that a run read: of time windows that follow each other.

    The first of them that is not complete decides.
    """

    __slots__ = ("_further", "_otherwise", "_parts")

    def __init__(
        self,
        parts: Iterable[tuple[Window, Data | None]],
        otherwise: float,
        further: float = 0.0,
    ) -> None:
        """Take the time of the rows and the data of each partition that was not complete.

        `otherwise` is the data time if all turn out to be complete. `further` is by how many
        seconds they have to reach further than the rows that are made from them.
        """
        self._parts = tuple(parts)
        self._otherwise = otherwise
        self._further = further

    def time(self, moves: int) -> float:
        """Return up to when nothing is missing; see `Data.time`."""
        return self._reached(moves) - self._further

    def _reached(self, moves: int) -> float:
        for rows, data in self._parts:
            value = data.time(moves) if data else None
            if value is None or value < rows.end:
                return rows.start if value is None else max(rows.start, value)
        return self._otherwise


class Data:
    """The data of one version, or of several that brought the same."""

    __slots__ = ("_moves", "_reads", "_time", "seen")

    def __init__(self, seen: float, reads: Iterable[Read]) -> None:
        """Take when a step started to read, and what it has read; a source reads nothing here."""
        self.seen = seen
        """When it was read at a source for the last time."""
        self._reads = tuple(reads)
        self._moves = -1
        self._time: float | None = None

    @property
    def of_source(self) -> bool:
        """Whether it comes from outside, and not from other data."""
        return not self._reads

    def time(self, moves: int) -> float | None:
        """Return its data time, now that data of some source was seen again `moves` times.

        It is the oldest of all that was read, or None (unknown) if a version was missing.
        """
        if self._moves != moves:
            self._moves = moves
            self._time = self._work_out(moves) if self._reads else self.seen
        return self._time

    def see_again(self, time: float) -> None:
        """Note that a source still had this data at `time`."""
        self.seen = max(self.seen, time)

    def _work_out(self, moves: int) -> float | None:
        return data_time_of(read.time(moves) if read else None for read in self._reads)


Read: TypeAlias = Data | WindowsRead | None
"""What a run read of an input; None: there was no version."""
