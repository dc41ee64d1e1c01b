"""Tally: how much was run since this process began to look.

The event log has no totals, and old runs are deleted from it. So a process counts what it sees:
its totals begin at zero, as those of every counter that Prometheus scrapes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from freshline.history.events import RESULTS

if TYPE_CHECKING:
    from freshline.history.runs import Run

__all__ = ["UNKNOWN_LOCATION", "Tally", "Work"]

UNKNOWN_LOCATION: Final = "unknown"
"""Where runs are counted that do not say in which location they were started."""


@dataclass(frozen=True, slots=True)
class Work:
    """What was run in one location."""

    requests: int = 0
    """The runs that freshline has requested, without retries."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """All runs that have ended, by result, whoever started them. A retry is a run."""
    seconds: float = 0.0
    """How long the steps of these took together."""


class Tally:
    """Counts runs by location."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._requests: defaultdict[str, int] = defaultdict(int)
        self._ended: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def begin(self, now: float) -> None:
        """Count what happens after `now` (UTC, epoch seconds). Only the first call counts."""
        if self._since is None:
            self._since = now

    def add_new(self, run: Run) -> None:
        """Note a run that was not known before."""
        if run.is_request and self._counts(run.created):
            self._requests[run.location or UNKNOWN_LOCATION] += 1

    def add_ended(self, run: Run) -> None:
        """Note a run that has ended and will not be retried."""
        if self._counts(run.ended or run.created):
            location = run.location or UNKNOWN_LOCATION
            self._ended[location][RESULTS[run.status]] += 1
            self._seconds[location] += run.seconds_of_work()

    def by_location(self) -> dict[str, Work]:
        """Return what was counted so far, of the locations in which something was run."""
        return {
            name: Work(self._requests[name], dict(self._ended[name]), self._seconds[name])
            for name in sorted(self._requests.keys() | self._ended.keys())
        }

    def _counts(self, at: float) -> bool:
        # The first read, and one that finds a new asset, also read runs that are long over.
        return self._since is not None and at > self._since
