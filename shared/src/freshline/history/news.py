"""News: whether anything has happened since the last look, in two small questions.

What a plan depends on is in the event log, but for the deletion of runs, and for partitions that
are added at run time. So between two changes, a tick need not read anything else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from dagster import DagsterInstance

from freshline.history.events import STATUS_EVENTS, EventLog, Happened

__all__ = ["News", "Watch"]

_LATE_COMMIT: Final = 10.0  # seconds in which an event with a lower id may still appear
_MARKS: Final = 64  # more looks than fit into those seconds


class News(NamedTuple):
    """What has happened between two looks."""

    events: Sequence[Happened]
    runs: bool
    """Whether a run may have another status, which no event tells."""


class Watch:
    """Follows the end of the log of `instance`."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._log = EventLog(instance)
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)
        self._seen: frozenset[int] = frozenset()
        self._unfinished: frozenset[str] = frozenset()
        self._unsettled = False

    def reconnect(self, instance: DagsterInstance) -> None:
        """Read through `instance` from now on."""
        self._log.instance = instance

    def look(self, now: float) -> News | None:
        """Return what has happened since the last look; None: it cannot be said.

        An id is assigned before its event is committed, so what is read begins some seconds before
        the last look. Dagster writes the status of a run after the event that tells of it: so after
        such an event, the look after it says that a run may have another status.
        """
        if not self._marks:
            end = self._log.end()
            if end is not None:
                self._marks.append((now, end))
                self._unfinished = self._log.unfinished_run_ids()
            return None
        unfinished = self._log.unfinished_run_ids()
        runs = self._unsettled or unfinished != self._unfinished
        self._unsettled, self._unfinished = False, unfinished
        while len(self._marks) > 1 and now - self._marks[1][0] >= _LATE_COMMIT:
            self._marks.popleft()
        found = self._log.happened_after(self._marks[0][1])
        new = [event for event in found if event.id not in self._seen]
        self._seen = frozenset(event.id for event in found)
        self._marks.append((now, max(self._marks[-1][1], found[-1].id if found else 0)))
        self._unsettled = any(event.kind in STATUS_EVENTS for event in new)
        return News(new, runs)
