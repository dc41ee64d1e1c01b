"""Data that has not changed: which later versions of an asset have the same data as one of them.

Versions that follow each other and have the same data version, which somebody has set, are one
chain: the same data, seen again and again. A data version that Dagster has given by default changes
with every run and means nothing. An observation of what the workspace makes that states a data time
(a note) says that the version it is about has not changed until then.

Each asset has its newest chains here, without a gap. For an older version, the log is read from it
on until its data has changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from freshline.history.events import EventLog
from freshline.history.materialized import Materialized

__all__ = ["Unchanged"]

_CHAINS: Final = 16  # newest chains of an asset
_MEMBERS: Final = 4  # newest versions of a chain; those before count by what they state
_NOTES: Final = 4  # newest notes of an asset
_WALKED: Final = 1_000  # versions read from an old one on; if more are the same, it is not followed
_CLOSED: Final = 5_000  # chains that have ended before those of `_CHAINS`


@dataclass(slots=True)
class _Chain:
    version: str | None
    first: int
    last: int
    members: list[int] = field(default_factory=list)
    stated: float | None = None
    """The newest data time that earlier members state."""
    _waiting: list[Materialized] = field(default_factory=list)

    @classmethod
    def of(cls, made: Materialized) -> _Chain:
        return cls(made.data_version, made.id, made.id, [made.id], None, [made])

    def continues(self, made: Materialized) -> bool:
        return made.data_version is not None and made.data_version == self.version

    def append(self, made: Materialized) -> None:
        self.last = made.id
        self.members.append(made.id)
        self._waiting.append(made)
        if len(self.members) > _MEMBERS:
            del self.members[0]
            stated = _stated(self._waiting.pop(0))
            if stated is not None:
                self.stated = stated if self.stated is None else max(self.stated, stated)

    def begin_earlier(self, earlier: _Chain) -> None:
        """Take over `earlier`, which ends where this chain begins."""
        self.first = earlier.first
        found = (earlier.stated, self.stated, *map(_stated, earlier._waiting))
        self.stated = max((time for time in found if time is not None), default=None)


class Unchanged:
    """Knows the chains of all assets. Reads older ones from `log`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lines: dict[str, list[_Chain]] = {}
        self._closed: OrderedDict[int, _Chain] = OrderedDict()
        self._notes: dict[str, dict[int, int | None]] = {}
        """By asset and note: the version that the note is about; 0: not looked for."""
        self.possible = False
        """Whether any version could be one of several with the same data."""
        self.epoch = 0
        """Counts how often one more version was found to be unchanged."""

    def add(self, made: Materialized) -> None:
        """Add a version, the newest of its asset."""
        line = self._lines.get(made.key)
        if line is None:
            if made.data_version is not None:
                self._lines[made.key] = [_Chain.of(made)]
        elif line[-1].continues(made):
            line[-1].append(made)
            self.epoch += 1
        else:
            line.append(_Chain.of(made))
            del line[:-_CHAINS]

    def add_late(self, made: Materialized) -> None:
        """Add a version that is not the newest: what lies around it must be read again."""
        self._lines.pop(made.key, None)
        self._closed.clear()
        self.epoch += 1

    def note(self, observed: Materialized) -> None:
        """Add an observation that says that its asset has not changed until its data time."""
        notes = self._notes.setdefault(observed.key, {})
        if observed.id in notes:
            return
        notes[observed.id] = 0
        for old in sorted(notes)[:-_NOTES]:
            del notes[old]
        self.possible = True
        self.epoch += 1

    def forget(self, key: str) -> None:
        """Forget what is known of an asset."""
        self._notes.pop(key, None)
        if self._lines.pop(key, None):
            self.epoch += 1

    def later(
        self, made: Materialized, newest_before: Callable[[int], int | None], *, observations: bool
    ) -> list[int]:
        """Return the newest of the later versions and notes that say that `made` is unchanged.

        `newest_before` returns the newest version of the asset with an id below another, and
        `observations` says whether observations are versions of it.
        """
        if made.data_version is None and made.key not in self._notes:
            return []
        chain = self._chain(made, observations=observations)
        last = chain.last if chain else made.id
        found = [it for it in chain.members if it > made.id] if chain else []
        notes = self._notes.get(made.key, {})
        for note in notes:
            if note < made.id:
                continue
            if notes[note] == 0:
                notes[note] = newest_before(note)
            about = notes[note]
            if about is not None and made.id <= about <= last:
                found.append(note)
        return found

    def stated(self, made: Materialized, *, observations: bool) -> float | None:
        """Return the newest data time that the versions state that `later` leaves out."""
        chain = self._chain(made, observations=observations)
        return chain.stated if chain else None

    # --- chains ---------------------------------------------------------------------------

    def _chain(self, made: Materialized, *, observations: bool) -> _Chain | None:
        """Return the chain of a version; None: it is one of its own."""
        if made.data_version is None:
            return None
        line = self._lines.get(made.key)
        if line is None or made.id < line[0].first:
            closed = self._closed.get(made.id)
            return closed or self._read(made, line, observations=observations)
        place = bisect_right(line, made.id, key=lambda chain: chain.first) - 1
        return line[place] if line[place].version == made.data_version else None

    def _read(self, made: Materialized, line: list[_Chain] | None, *, observations: bool) -> _Chain:
        """Read the chain of a version that is older than what is known of its asset."""
        chain = _Chain.of(made)
        events = self._log.oldest_after(made.key, made.id, _WALKED, observations=observations)
        for event in events:
            if not chain.continues(event):
                break
            if line is not None and event.id >= line[0].first:
                line[0].begin_earlier(chain)
                return line[0]
            chain.append(event)
        else:
            if line is None and len(events) < _WALKED:
                self._lines[made.key] = [chain]
                return chain
        self._closed[made.id] = chain
        while len(self._closed) > _CLOSED:
            self._closed.popitem(last=False)
        return chain


def _stated(made: Materialized) -> float | None:
    """Return the data time that a version states that nobody has made here; None: none."""
    if made.run_id and not made.observed:
        return None
    stated = made.data_time if made.data_time is not None else made.last_updated
    if stated is None:
        return None if made.run_id else made.at
    return min(stated, made.at)
