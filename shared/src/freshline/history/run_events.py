"""What a run was to make, and how far its steps have come, as Dagster's event log has it.

Every point in time is UTC in epoch seconds; an asset is named by its user string.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagster import DagsterEventType, EventLogEntry

if TYPE_CHECKING:
    from dagster import EventLogRecord

    from freshline.history.materialized import Materialized

__all__ = ["RUN_EVENTS", "PutBack", "RunEvents", "Start", "StepEvents", "put_back_by"]

RUN_EVENTS: Final = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.RUN_STARTING,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_FAILURE,
}
"""Those that tell of a run and its steps."""


class PutBack(NamedTuple):
    """Dagster could not launch a run, and put it back into its queue."""

    at: float
    why: str
    """As the launcher says it, without an end: `no worker of core since 12:01:40 UTC`."""


class Start(NamedTuple):
    """When a step began, in two measures. It has read what was there then."""

    at: float
    position: int | None
    """The id of the event in the log: what has a lower one was there, whatever clocks say. None:
    the storage has a log of its own for each run, which lies on one host, with one clock."""

    def is_after(self, made: Materialized) -> bool:
        """Return whether `made` was there when the step began."""
        return made.at <= self.at if self.position is None else made.id < self.position


@dataclass(slots=True)
class StepEvents:
    """How far a step has come. Times are UTC in epoch seconds."""

    started: float | None = None
    ended: float | None = None
    error: str | None = None
    """Set when the step failed."""
    position: int | None = None
    """The id of the event with which it began, or was skipped; None: see `Start`."""

    def add(self, entry: EventLogEntry, position: int | None) -> None:
        """Add an event of the step. `position` is its id in a log that has all runs."""
        event = entry.dagster_event
        if event is None:
            return
        self.note(event.event_type, entry.timestamp, position)
        if event.event_type is DagsterEventType.STEP_FAILURE:
            self.error = _root_error(event.step_failure_data.error) or self.error

    def note(self, kind: DagsterEventType, at: float, position: int | None) -> None:
        """Note that an event of this kind was written, without what is in it."""
        # The first attempt counts: a retry of the step may go on with what it had read.
        if kind is DagsterEventType.STEP_START and self.started is None:
            self.started, self.position = at, position
        if kind is DagsterEventType.STEP_SKIPPED and self.started is None:
            self.position = position
        if kind is not DagsterEventType.STEP_START:
            self.ended = at
        if kind is DagsterEventType.STEP_FAILURE:
            self.error = "step failed"


@dataclass(slots=True)
class RunEvents:
    """What a run was to make, and how far its steps have come."""

    planned: dict[str, str] = field(default_factory=dict)
    """The step that makes each asset, by key."""
    partitions: dict[str, list[str]] = field(default_factory=dict)
    """The partitions to make of each partitioned asset, by key."""
    launched: float | None = None
    """When it left the queue for the last time."""
    tried_before: bool = False
    """Whether it had left the queue before, and was put back because it could not be launched."""
    steps: dict[str, StepEvents] = field(default_factory=dict)
    error: str | None = None
    cursor: str | None = None
    """Where the next read of the run's events goes on."""

    def add(self, record: EventLogRecord, position: int | None) -> None:
        """Add an event of the run. `position` is its id in a log that has all runs."""
        entry = record.event_log_entry
        event = entry.dagster_event
        if event is None:
            return
        kind = event.event_type
        if kind is DagsterEventType.ASSET_MATERIALIZATION_PLANNED and event.asset_key:
            key = event.asset_key.to_user_string()
            self.planned[key] = entry.step_key or ""
            plan = event.asset_materialization_planned_data
            if plan.partition is not None:
                self.partitions.setdefault(key, []).append(plan.partition)
            elif plan.partitions_subset is not None:
                self.partitions[key] = list(plan.partitions_subset.get_partition_keys())
        elif kind is DagsterEventType.RUN_STARTING:
            self.launch(entry.timestamp)
        elif kind is DagsterEventType.RUN_FAILURE:
            data = event.event_specific_data
            error = _root_error(getattr(data, "error", None))
            self.error = error or event.message or entry.message
        elif entry.step_key:
            self.steps.setdefault(entry.step_key, StepEvents()).add(entry, position)

    def launch(self, at: float) -> None:
        """Note that the run has left the queue."""
        self.tried_before = self.launched is not None
        self.launched = at

    def ops(self, step: str) -> list[StepEvents]:
        """Return the events of the steps that make the asset whose step is `step` in the plan.

        Mostly that step is the only one. For an asset that a graph of ops makes, the plan names
        the last op, as in "graph.op"; then these are the steps of all ops of that graph.
        """
        graph, inside, _ = step.partition(".")
        if inside:
            return [op for key, op in self.steps.items() if key.partition(".")[0] == graph]
        return [self.steps[step]] if step in self.steps else []

    def started(self, step: str) -> float | None:
        """Return when the first of the steps that make an asset began; None: it has not."""
        start = self.start(step)
        return start.at if start else None

    def start(self, step: str) -> Start | None:
        """Return when the first of these steps began, or was skipped without; None: it has not."""
        starts = [Start(op.started, op.position) for op in self.ops(step) if op.started is not None]
        return min(starts, key=lambda start: (start.position or 0, start.at), default=None)

    def answered(self, step: str) -> float | None:
        """Return when a step had succeeded or was skipped; None: it had not, or has failed."""
        op = self.steps.get(step)
        return op.ended if op and op.error is None else None


def put_back_by(entry: EventLogEntry) -> PutBack | None:
    """Return why a run could not be launched, if the event of Dagster's engine tells of that."""
    event = entry.dagster_event
    error = event.engine_event_data.error if event and event.is_engine_event else None
    line = _first_line(error) if error else None
    if line is None:
        return None
    _, _, text = line.partition(": ")  # after the name of the error's class
    return PutBack(entry.timestamp, (text or line).removesuffix("."))


def _root_error(error: Any) -> str | None:
    """Return the first line of the innermost cause, short enough for a message."""
    if error is None:
        return None
    while error.cause is not None:
        error = error.cause
    return _first_line(error)


def _first_line(error: Any) -> str | None:
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    return lines[0][:300] if lines else None
