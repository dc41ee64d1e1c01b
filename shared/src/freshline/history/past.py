"""What has happened in the past, in the few values that a report needs of it.

Pure data. Every point in time is UTC in epoch seconds; an asset is named by its user string. The
values follow from the event log (`replay`), and outlive it (`kept`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from freshline.model import Phase, TargetStatus

__all__ = ["Change", "ChangeKind", "Past", "PastRun", "Period", "Silence", "Verdict"]


class ChangeKind(StrEnum):
    """Why the data time of an asset is another one from then on."""

    MADE = "made"
    """A version was made."""
    OBSERVED = "observed"
    """A version of what is made outside was observed."""
    UNCHANGED = "unchanged"
    """What the asset was made from was found to be unchanged: its data are newer without a run."""
    WIPED = "wiped"
    """Somebody has wiped the asset: it has no version."""
    STANDS = "stands"
    """Nothing has changed: what was so when the history begins."""


@dataclass(frozen=True, slots=True)
class Change:
    """From `at` on, the data of `key` were those of `data_time`."""

    event: int
    """The id of the event in the log that changed it; of `STANDS`, of the last event before."""
    key: str
    at: float
    kind: ChangeKind
    data_time: float | None
    """None: unknown, or there is no version. Of what is partitioned and no target: None."""
    run_id: str = ""
    """The run that made the version; "" for none."""
    ready: float | None = None
    """When the last version that it read was there; None: it read none."""
    requested: float | None = None
    """When its run was planned; None: it had no run, or that is not known. So are the next two."""
    launched: float | None = None
    """When its run left the queue."""
    started: float | None = None
    """When its step began."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run, as it ended."""

    id: str
    status: str
    """As Dagster calls it: SUCCESS, FAILURE or CANCELED."""
    ended: float
    launched: float | None = None
    """When it left the queue; None: it never did."""
    requested: float | None = None
    """When a plan asked for it; None: none did."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a plan said of a target, until it said something else."""

    id: int
    """That of the result of the target's check in Dagster's database; larger is later."""
    target: str
    at: float
    status: TargetStatus
    reason: str
    """A sentence for people."""
    location: str = ""
    """The location that held the target up; "": nothing did. So are the next two."""
    asset: str = ""
    phase: Phase | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A location was not heard of."""

    event: int
    """The id of its last sign of life before that."""
    location: str
    begin: float
    end: float | None
    """When it was heard of again; None: it was not yet."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time of which the whole history is known."""

    begin: float
    end: float
    event: int
    """The id of the last event in the log that it takes into account."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of some time."""

    periods: tuple[Period, ...]
    """Those of which everything is known, the oldest first; they do not overlap."""
    changes: tuple[Change, ...] = ()
    """In the order of their events, which the clocks of several hosts may contradict by seconds."""
    runs: tuple[PastRun, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """In order of time."""
    silences: tuple[Silence, ...] = ()
    not_followed: frozenset[str] = field(default_factory=frozenset)
    """Targets of which no lag is known over time, because they do not age."""
