"""The known versions of partitions, and up to when partitions in a row leave nothing out.

Pure data: nothing here reads a log. A position is an id in the event log: as of a position, the
versions with that id or a lower one were there. Every point in time is UTC in epoch seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from freshline.windows import Window

__all__ = ["NOW", "Partition", "Series", "Stored"]

NOW: Final = 2**62
"""A position after all versions."""

_KEPT: Final = 4  # newest versions of a complete partition: its runs are looked for among them
_AT_ONCE: Final = 8  # partitions whose older versions are asked for first; then four times as many


@dataclass(slots=True)
class Stored:
    """One version of a partition."""

    id: int
    at: float = 0.0
    run_id: str = ""
    resolved: bool = False
    """Whether `data_time` was worked out."""
    data_time: float | None = None
    """With a window: never later than the end of its data, when nothing is missing."""


@dataclass(slots=True, eq=False)
class Partition:
    """One partition of an asset, and the versions of it that are known."""

    name: str
    key: str = ""
    """Its key in the dimension without time."""
    window: Window | None = None
    data: Window | None = None
    """The time whose rows it brings, if it has a window."""
    index: int = 0
    """Its place among the windows of its key."""
    versions: list[Stored] = field(default_factory=list)
    """Without a gap, the oldest first."""
    from_first: bool = True
    """Whether there is no version before the first one that is known."""

    @property
    def newest(self) -> Stored | None:
        """Return the current version."""
        return self.versions[-1] if self.versions else None

    def add(self, version: Stored) -> None:
        """Add a version, which may be older than others."""
        ids = [known.id for known in self.versions]
        older_are_missing = not self.from_first and ids and version.id < ids[0]
        if version.id not in ids and not older_are_missing:
            insort(self.versions, version, key=_id_of)

    def at(self, position: float) -> Stored | None:
        """Return the version that was current at `position`, as far as is known."""
        place = bisect_right(self.versions, position, key=_id_of)
        return self.versions[place - 1] if place else None

    def knows(self, position: float) -> bool:
        """Return whether it is known which version was current at `position`."""
        return self.from_first or (bool(self.versions) and self.versions[0].id <= position)

    def is_complete(self, version: Stored | None) -> bool:
        """Return whether `version` has all rows of the partition's window."""
        return (
            self.data is not None
            and version is not None
            and version.data_time is not None
            and version.data_time >= self.data.end
        )

    def reach(self, version: Stored | None) -> float | None:
        """Return up to when nothing is missing in the partition as it was with `version`.

        Without a window that is the data time of the version; None: none, or not known.
        """
        data_time = version.data_time if version else None
        if self.data is None:
            return data_time
        return self.data.start if data_time is None else max(self.data.start, data_time)

    def complete_since(self) -> float:
        """Return the position from which on it has been complete until now; inf: it is not."""
        since = inf
        for version in reversed(self.versions):
            if not self.is_complete(version):
                break
            since = version.id
        return since

    def forget_old(self) -> None:
        """Forget versions that a reader is unlikely to have read, if the newest is complete."""
        since = self.complete_since()
        if since == inf or len(self.versions) <= _KEPT:
            return
        first = bisect_left(self.versions, since, key=_id_of)
        superfluous = min(first, len(self.versions) - _KEPT)
        if superfluous > 0:
            del self.versions[:superfluous]
            self.from_first = False


class Series:
    """The partitions of an asset's time windows, in order, of one key if there are others."""

    def __init__(self) -> None:
        self.partitions: list[Partition] = []
        self.incomplete: list[int] = []
        """The places of those that are not complete now, in order."""
        self._starts: list[float] = []
        self._ends: list[float] = []
        """Where the windows begin and end."""
        self._since: list[float] = []
        """From which position on each has been complete; inf: it is not."""
        self._all_since: list[float] = []
        """From which position on each and all before it have been."""

    def append(self, partition: Partition, window: Window) -> None:
        """Add the partition of the next window."""
        self._starts.append(window.start)
        self._ends.append(window.end)
        partition.index = len(self.partitions)
        self.partitions.append(partition)
        self.incomplete.append(partition.index)
        self._since.append(inf)
        self._all_since.append(inf)
        self.update([partition])

    def update(self, partitions: Collection[Partition]) -> None:
        """Take over what has changed in some of the partitions."""
        changed = []
        for partition in partitions:
            place, since = partition.index, partition.complete_since()
            if since == self._since[place]:
                continue
            if since == inf:
                insort(self.incomplete, place)
            elif self._since[place] == inf:
                del self.incomplete[bisect_left(self.incomplete, place)]
            self._since[place] = since
            changed.append(place)
        if changed:
            first = min(changed)
            highest = self._all_since[first - 1] if first else -inf
            for place in range(first, len(self._since)):
                highest = max(highest, self._since[place])
                self._all_since[place] = highest

    def reach(
        self, position: float, read_older: Callable[[Sequence[Partition]], None]
    ) -> float | None:
        """Return up to when nothing was missing at `position`; None: there is no window.

        `read_older` adds all versions of some partitions that are older than those known.
        """
        if not self.partitions:
            return None
        place, at_once = bisect_right(self._all_since, position), _AT_ONCE
        while place < len(self.partitions):
            if self._since[place] > position:
                partition = self.partitions[place]
                if not partition.knows(position):
                    read_older(self.partitions[place : place + at_once])
                    at_once *= 4
                version = partition.at(position)
                if not partition.is_complete(version):
                    return partition.reach(version)
            place += 1
        return self._end_of_data

    def last_at(self, time: float, end_offset: int) -> Partition | None:
        """Return the partition of the last window that existed at `time`."""
        place = bisect_right(self._ends, time) + min(0, end_offset - 1)
        place = min(place, len(self.partitions) - 1)
        return self.partitions[place] if place >= 0 else None

    def within(self, window: Window) -> Sequence[Partition]:
        """Return the partitions whose windows overlap with `window`."""
        first = bisect_right(self._ends, window.start)
        return self.partitions[first : bisect_left(self._starts, window.end)]

    @property
    def _end_of_data(self) -> float | None:
        data = self.partitions[-1].data
        return data.end if data else None


def _id_of(version: Stored) -> int:
    return version.id
