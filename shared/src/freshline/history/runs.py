"""Runs: which will still deliver an asset, which failed to, and how often in a row.

An asset has failed when a run that was to make it ended without: its step failed, the run crashed
or was cancelled, or it "succeeded" and made nothing. An asset whose step never started because
another one failed has not failed itself. A run and its retries are one failure.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from dagster import DagsterRunStatus

from freshline.history.events import FINISHED, EventLog, Materialized, RunEvents
from freshline.names import PARTITION, PLANNED_TAG, RETRY_RUN, WILL_RETRY

if TYPE_CHECKING:
    from dagster import RunRecord

__all__ = ["Failure", "Failures", "Run", "Runs", "failures_in_a_row", "failures_of"]

_FIRST_READ: Final = 300  # newest runs read when nothing is known yet,
_FIRST_ASSETS: Final = 5_000  # until those that were read were to make so many assets
_PAGE: Final = 25
_SETTLED: Final = 5_000  # run ids remembered, so that no run is counted twice
_PLANNING: Final = 10.0  # seconds in which a new run writes which assets it will make, if any
_TICK_TIMEOUT: Final = 60.0  # seconds after which Dagster gives up on a sensor's tick
_RETRY_GRACE: Final = 600.0  # seconds in which a promised retry of a failed run must appear

_QUEUED: Final = frozenset(
    {DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED, DagsterRunStatus.MANAGED}
)


@dataclass(slots=True)
class Run:
    """A run, and what it has delivered so far."""

    id: str
    root_id: str
    """The id of the first run in a chain of retries; its own id if it is that run."""
    order: int
    """Larger is newer, whatever the clocks of the hosts say."""
    created: float
    requested: float
    """When it was planned: for a sensor's run a second or so before it was created."""
    status: DagsterRunStatus
    selection: frozenset[str] = frozenset()
    partition: str | None = None
    """The key of the partition that it is for; None: of none, or of several."""
    started: float | None = None
    ended: float | None = None
    retry_promised: bool = False
    events: RunEvents = field(default_factory=RunEvents)
    delivered: dict[str, Materialized] = field(default_factory=dict)
    made: frozenset[str] = frozenset()
    """Assets that it has materialized, although no version of them is known (any more)."""

    @property
    def finished(self) -> bool:
        """Return whether it has succeeded, failed or been cancelled."""
        return self.status in FINISHED

    def to_make(self) -> dict[str, str]:
        """Return the assets that it is to make, and the step that makes each.

        They are those of the run's plan, or of its selection until the plan is written. The two
        differ for a retry from failure: it selects what its parent did, and makes only the rest.
        """
        return self.events.planned or dict.fromkeys(self.selection, "")

    def partitions(self, key: str) -> Sequence[str]:
        """Return the partitions of an asset that it is to make."""
        planned = self.events.partitions.get(key)
        if planned is not None:
            return planned
        return [self.partition] if self.partition is not None else []

    def still_to_make(self) -> Iterator[tuple[str, str]]:
        """Yield the assets, with their steps, that it may still make."""
        for key, step in self.to_make().items():
            done = self.events.steps.get(step)
            if not self.has_made(key) and (done is None or done.ended is None):
                yield key, step

    def has_made(self, key: str) -> bool:
        """Return whether it has materialized the asset."""
        return key in self.delivered or key in self.made

    def step_started(self, step: str) -> float | None:
        """Return when `step`, or its graph of ops, began; None: it has not."""
        return self.events.started(step)


@dataclass(slots=True)
class Failure:
    """A run, with its retries, that failed to make an asset or a partition."""

    since: float
    at: float
    error: str

    def after(self, earlier: Failure | None) -> Failure:
        """Return this failure of a run, whose retry before it had failed too."""
        if earlier is None:
            return self
        return Failure(min(earlier.since, self.since), self.at, self.error)


@dataclass(frozen=True, slots=True)
class Failures:
    """An asset's failures in a row since its last materialization."""

    count: int = 0
    since: float | None = None
    at: float | None = None
    error: str | None = None


class Runs:
    """Follows the instance's runs from read to read."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.active: dict[str, Run] = {}
        """Queued, in progress, or failed with a retry to come."""
        self._ended: dict[str, Run] = {}
        self._settled: OrderedDict[str, int] = OrderedDict()
        self._passed_over: set[str] = set()
        self._newest: int | None = None
        self._failures: defaultdict[str, dict[str, Failure]] = defaultdict(dict)
        self._last: dict[str, tuple[int, str]] = {}

    # --- reading --------------------------------------------------------------------------

    def read(self, now: float) -> None:
        """Bring every run up to date.

        Read runs before materializations: then `settle` knows all that a finished run has
        delivered.
        """
        newest = self._newest_records()
        records = {record.dagster_run.run_id: record for record in (*newest, *self._other_active())}
        for deleted in self.active.keys() - records.keys():
            del self.active[deleted]
        self._follow_all(records.values(), now)
        # Last: if the storage fails half-way, the next read begins where this one did.
        self._newest = max((record.storage_id for record in newest), default=self._newest or 0)

    def read_runs(self, run_ids: Iterable[str], now: float) -> None:
        """Read these runs as well, however old they are."""
        wanted = {run_id for run_id in run_ids if run_id not in self._settled}
        for record in self._log.run_records(wanted - self.active.keys()):
            self._follow(record, now)

    def _newest_records(self) -> Sequence[RunRecord]:
        # Ordered by the storage's own counter: `updated_after` would compare the clocks of
        # the hosts that write with ours. A few known ones are read again each time, for runs
        # whose insertion was committed late.
        limit = _PAGE if self._newest is not None else _FIRST_READ
        while True:
            records = self._log.newest_runs(limit)
            reached = self._newest is None or len(records) < limit
            if reached or records[-1].storage_id <= (self._newest or 0):
                break
            limit *= 4
        return records

    def _other_active(self) -> Sequence[RunRecord]:
        if not self._settled and not self.active:
            return self._log.unfinished_runs()
        return self._log.run_records(self.active.keys())

    def _follow_all(self, records: Iterable[RunRecord], now: float) -> None:
        """Follow the newest runs first; the first read passes over those beyond `_FIRST_ASSETS`."""
        assets = 0
        for record in sorted(records, key=lambda record: -record.storage_id):
            run_id = record.dagster_run.run_id
            finished = record.dagster_run.status in FINISHED
            if self._newest is None and finished and assets >= _FIRST_ASSETS:
                self._passed_over.add(run_id)
            elif run_id not in self._settled and run_id not in self._passed_over:
                assets += len(self._follow(record, now).to_make())

    def _follow(self, record: RunRecord, now: float) -> Run:
        run = self.active.get(record.dagster_run.run_id) or _new_run(record)
        status = record.dagster_run.status
        if status in FINISHED:
            if not run.finished:
                # From the start: what another process wrote may have been committed late.
                run.events = self._log.run_events(run.id)
            self._ended[run.id] = run
        elif status not in _QUEUED or (not run.events.planned and now - run.created < _PLANNING):
            self._log.run_events(run.id, run.events)
        run.status = status
        run.started, run.ended = record.start_time, record.end_time
        run.retry_promised = _retry_promised(record, now)
        self.active[run.id] = run
        for key in run.to_make():
            self._last[key] = max(self._last.get(key, (0, "")), (run.order, run.id))
        return run

    # --- failures -------------------------------------------------------------------------

    def add_current_version(self, made: Materialized) -> None:
        """Note that the asset has a new current version: its earlier failures are over."""
        self._failures.pop(made.key, None)
        self.add_delivery(made)

    def add_delivery(self, made: Materialized) -> None:
        """Note that a version was made by its run."""
        run = self.active.get(made.run_id)
        if run is not None:
            run.delivered[made.key] = made

    def settle(self, current: Callable[[str], Materialized | None]) -> list[Run]:
        """Count the failures since the last read. Return the runs that have ended."""
        for run in self._ended.values():
            if not all(run.has_made(key) for key in run.to_make()):
                # Rare, so that a query of its own is no burden: its materializations may be older
                # than what the first read has read, or wiped.
                run.made = frozenset(self._log.made_by_run(run.id))
        for run in sorted(self.active.values(), key=lambda run: run.order):
            for key, failure in failures_of(run):
                if not self.is_over(run, failure, current(key)):
                    self._count(key, run, failure)
        ended = [run for run in self._ended.values() if not run.retry_promised]
        ended.sort(key=lambda run: run.order)
        self._ended.clear()
        for run in ended:
            self.active.pop(run.id, None)
            self._settled[run.id] = run.order
        while len(self._settled) > _SETTLED:
            self._settled.popitem(last=False)
        return ended

    def is_over(self, run: Run, failure: Failure, current: Materialized | None) -> bool:
        """Return whether the asset was made since, if possible without comparing clocks."""
        if current is None:
            return False
        if current.run_id == run.id:
            return True
        maker = self.active.get(current.run_id)
        order = maker.order if maker else self._settled.get(current.run_id)
        return current.at >= failure.at if order is None else order > run.order

    def _count(self, key: str, run: Run, failure: Failure) -> None:
        failures = self._failures[key]
        failures[run.root_id] = failure.after(failures.get(run.root_id))

    # --- answers --------------------------------------------------------------------------

    def failures(self, key: str) -> Failures:
        """Return the asset's failures since its last materialization."""
        return failures_in_a_row(self._failures.get(key))

    def last_run(self, key: str) -> str:
        """Return the id of the newest run that was to make the asset; "" for none."""
        return self._last.get(key, (0, ""))[1]

    def add_last_run(self, key: str, run_id: str) -> None:
        """Note the newest run of an asset, if no run of it was read."""
        self._last.setdefault(key, (0, run_id))

    def step_started(self, run_id: str, step: str) -> float | None:
        """Return when a step began, or when its run did if the step has no start event.

        None: the run does not exist any more.
        """
        run = self.active.get(run_id)
        known = run.step_started(step) if run else None
        if known is not None:
            return known
        started = self._log.run_events(run_id).started(step)
        if started is not None:
            return started
        records = self._log.run_records([run_id])
        return records[0].start_time if records else None

    def pending(self) -> dict[str, list[tuple[Run, str]]]:
        """Return the runs that will still deliver each asset, by key, with the step that does."""
        pending: defaultdict[str, list[tuple[Run, str]]] = defaultdict(list)
        for run in self.active.values():
            if run.retry_promised:
                for key, step in run.to_make().items():
                    if not run.has_made(key):
                        pending[key].append((run, step))
            else:
                for key, step in run.still_to_make():
                    pending[key].append((run, step))
        return pending


def _new_run(record: RunRecord) -> Run:
    run = record.dagster_run
    return Run(
        id=run.run_id,
        root_id=run.root_run_id or run.run_id,
        order=record.storage_id,
        created=record.create_timestamp.timestamp(),
        requested=_requested_at(record),
        status=DagsterRunStatus.NOT_STARTED,
        selection=frozenset(key.to_user_string() for key in run.asset_selection or ()),
        partition=run.tags.get(PARTITION),
    )


def _requested_at(record: RunRecord) -> float:
    """Return when a run was planned, as its tag says, or else when it was created.

    The tag does not count for a retry, which has its parent's tags. Nor does it count if the run
    was created before that time or long after it: then one of the hosts' clocks is wrong.
    """
    run = record.dagster_run
    created = record.create_timestamp.timestamp()
    planned = _planned_at(run.tags) if run.parent_run_id is None else None
    if planned is not None and 0.0 <= created - planned <= _TICK_TIMEOUT:
        return planned
    return created


def _planned_at(tags: Mapping[str, str]) -> float | None:
    """Return when (epoch seconds) a run with these tags was planned; None: no plan asked for it."""
    try:
        return datetime.fromisoformat(tags[PLANNED_TAG]).timestamp()
    except (KeyError, ValueError):
        return None


def _retry_promised(record: RunRecord, now: float) -> bool:
    """Return whether Dagster will retry this failed run and has not begun to."""
    run = record.dagster_run
    if run.status is not DagsterRunStatus.FAILURE:
        return False
    if run.tags.get(WILL_RETRY) != "true" or run.tags.get(RETRY_RUN):
        return False
    return now - (record.end_time or now) < _RETRY_GRACE


def failures_in_a_row(failures: Mapping[str, Failure] | None) -> Failures:
    """Return failures, given by the first run of each chain of retries, as one value."""
    if not failures:
        return Failures()
    latest = max(failures.values(), key=lambda failure: failure.at)
    since = min(failure.since for failure in failures.values())
    return Failures(len(failures), since, latest.at, latest.error)


def failures_of(run: Run) -> Iterator[tuple[str, Failure]]:
    """Yield the assets that `run` was to make and failed to, each with the failure."""
    crashed = not any(step.error for step in run.events.steps.values())
    for key, step_key in run.to_make().items():
        if run.has_made(key):
            continue
        step = run.events.steps.get(step_key)
        if run.finished and (step is None or step.error is None):
            # An earlier op of the asset's graph may have failed. That counts only at the run's end:
            # the last op might not depend on it.
            step = next((op for op in run.events.ops(step_key) if op.error is not None), step)
        if step is not None and step.error is not None:
            at = step.ended or run.ended or run.created
            yield key, Failure(at, at, step.error)
        elif run.finished:
            at = run.ended or run.created
            started = run.step_started(step_key) is not None
            if run.status is DagsterRunStatus.SUCCESS:
                yield key, Failure(at, at, "the run succeeded without materializing the asset")
            elif run.status is DagsterRunStatus.CANCELED:
                yield key, Failure(at, at, "the run was cancelled")
            elif crashed or started:
                yield key, Failure(at, at, run.events.error or "the run failed")
