"""Runs: which will still deliver an asset, which failed to, and how often in a row.

An asset has failed when a run that was to make it ended without: its step failed, or the run
crashed or was cancelled. An asset whose step never started because another one failed has not
failed itself. A run and its retries are one failure. A step that succeeds or is skipped, and makes
nothing, has answered that there is nothing new: Dagster fails a step whose output is required.

What a run observes is not in its plan. It is in its selection, or has the name of a step.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Final

from dagster import AssetKey, DagsterRunStatus

from freshline.history.events import FINISHED, EventLog
from freshline.history.materialized import Materialized
from freshline.history.run_events import PutBack, RunEvents, Start
from freshline.history.tally import Tally
from freshline.model import Graph
from freshline.names import (
    OLD_REASON_TAG,
    PARENT_RUN,
    PARTITION,
    PLANNED_TAG,
    REASON_TAG,
    RETRY_RUN,
    WILL_RETRY,
)

if TYPE_CHECKING:
    from dagster import RunRecord

__all__ = [
    "Answer",
    "Failure",
    "Failures",
    "Run",
    "Runs",
    "failures_in_a_row",
    "failures_of",
    "planned_at",
    "reason_of",
]

_FIRST_READ: Final = 300  # newest runs read when nothing is known yet,
_FIRST_ASSETS: Final = 5_000  # until those that were read were to make so many assets
_PAGE: Final = 25
_SETTLED: Final = 5_000  # run ids remembered, so that no run is counted twice
_PLANNING: Final = 10.0  # seconds in which a new run writes which assets it will make, if any
_TICK_TIMEOUT: Final = 60.0  # seconds after which Dagster gives up on a sensor's tick
_RETRY_GRACE: Final = 600.0  # seconds in which a promised retry of a failed run must appear
_STEPS: Final = 20_000  # beginnings of steps of old runs that are remembered

_QUEUED: Final = frozenset(
    {DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED, DagsterRunStatus.MANAGED}
)
_UNDER_WAY: Final = frozenset(
    {DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING}
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
    planned: float | None
    """When the plan that asked for it was made, by the clock of its location; None: none asked."""
    status: DagsterRunStatus
    location: str | None = None
    """The code location that it was started in; None: it does not say."""
    is_request: bool = False
    """Whether freshline has requested it, and it is no retry."""
    selection: frozenset[str] = frozenset()
    partition: str | None = None
    """The key of the partition that it is for; None: of none, or of several."""
    pools: frozenset[str] = frozenset()
    """The pools that its steps need a place in."""
    started: float | None = None
    ended: float | None = None
    retry_promised: bool = False
    updated: datetime | None = None
    """When Dagster last wrote something about it, as far as its attempts to launch it are known."""
    put_back: PutBack | None = None
    """Why Dagster could not launch it; None: it could, or has not tried."""
    events: RunEvents = field(default_factory=RunEvents)
    observing: dict[str, str] = field(default_factory=dict)
    """The assets that it is to observe, and the step that observes each, as far as known."""
    delivered: dict[str, Materialized] = field(default_factory=dict)
    made: frozenset[str] = frozenset()
    """Assets that it has made or observed, although no version of them is known (any more)."""

    @property
    def clock_ahead(self) -> float:
        """Return how many seconds the clock of its location is ahead of the daemon's.

        The daemon creates and launches a run by its own clock; all else is by the location's. Zero:
        no difference is certain. No run begins before it is created, nor is it created before it
        is planned, and a second or so lies between these two.
        """
        took = 0.0 if self.planned is None else self.created - self.planned
        if took < 0.0:
            return -took
        began_before = self.started is not None and self.started < self.created
        return -took if took > _TICK_TIMEOUT and began_before else 0.0

    @property
    def requested(self) -> float:
        """Return when it was asked for, by the clock of its location as far as that is known."""
        if self.planned is None or self.created - self.planned > _TICK_TIMEOUT:
            return self.created + self.clock_ahead  # the daemon was away meanwhile, or by its clock
        return self.planned

    @property
    def finished(self) -> bool:
        """Return whether it has succeeded, failed or been cancelled."""
        return self.status in FINISHED

    @property
    def has_slot(self) -> bool:
        """Return whether it counts among the runs that the instance lets run at once."""
        return self.status in _UNDER_WAY

    @property
    def waits(self) -> bool:
        """Return whether it is in the queue, or leaves it now and then, and is put back."""
        return self.status in _QUEUED or self.put_back is not None

    @property
    def launched(self) -> float | None:
        """Return when it left the queue; None: nothing says that it has."""
        return self.events.launched or self.started

    def seconds_of_work(self) -> float:
        """Return how long its steps took together, in seconds, as far as they have ended."""
        steps = self.events.steps.values()
        return sum(it.ended - it.started for it in steps if it.started and it.ended)

    def to_make(self) -> dict[str, str]:
        """Return the assets that it is to make or to observe, and the step that does each.

        They are those of the run's plan, or of its selection until the plan is written. The two
        differ for a retry from failure: it selects what its parent did, and makes only the rest.
        """
        planned = self.events.planned or dict.fromkeys(self.selection, "")
        return {**planned, **self.observing} if self.observing else planned

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
        """Return whether it has materialized or observed the asset."""
        return key in self.delivered or key in self.made

    def step_started(self, step: str) -> float | None:
        """Return when `step`, or its graph of ops, began; None: it has not."""
        return self.events.started(step)

    def answered(self, step: str) -> float | None:
        """Return when `step` had ended well; None: it has not."""
        ended = self.events.answered(step)
        if ended is None and self.status is DagsterRunStatus.SUCCESS:
            return self.ended or self.created
        return ended


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


@dataclass(frozen=True, slots=True)
class Answer:
    """A step of the asset's newest run ended well and made nothing."""

    order: int
    """That of the run."""
    at: float
    start: Start
    """When the step began, or was skipped."""


class Runs:
    """Follows the instance's runs from read to read."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.tally: Final = Tally()
        self.active: dict[str, Run] = {}
        """Queued, in progress, or failed with a retry to come."""
        self._ended: dict[str, Run] = {}
        self._settled: OrderedDict[str, int] = OrderedDict()
        self._passed_over: set[str] = set()
        self._newest: int | None = None
        self._failures: defaultdict[str, dict[str, Failure]] = defaultdict(dict)
        self._failed: dict[str, int] = {}
        """The order of the newest run that failed to make each asset."""
        self._answers: dict[str, Answer] = {}
        self._last: dict[str, tuple[int, str]] = {}
        self._observed: Mapping[str, str] = {}
        """The assets that runs observe, and the step that observes each if nobody named it."""
        self._starts: OrderedDict[tuple[str, str], Start] = OrderedDict()

    def follow(self, graph: Graph) -> None:
        """Use the observed assets of `graph` from now on."""
        self._observed = {
            key: AssetKey.from_user_string(key).to_python_identifier()
            for key, asset in graph.assets.items()
            if asset.observed
        }

    # --- reading --------------------------------------------------------------------------

    def read(self, now: float) -> None:
        """Bring every run up to date.

        Read runs before materializations: then `settle` knows all that a finished run has
        delivered.
        """
        self.tally.begin(now)
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
        run = self.active.get(record.dagster_run.run_id)
        if run is None:
            run = _new_run(record)
            self.tally.add_new(run)
        status = record.dagster_run.status
        if status in FINISHED:
            if not run.finished:
                # From the start: what another process wrote may have been committed late.
                run.events = self._log.run_events(run.id)
            self._ended[run.id] = run
        elif status not in _QUEUED or (not run.events.planned and now - run.created < _PLANNING):
            self._log.run_events(run.id, run.events)
        self._follow_attempts(run, record)
        run.status = status
        run.started, run.ended = record.start_time, record.end_time
        run.retry_promised = _retry_promised(record, now)
        if self._observed:
            run.observing = self._observing(run)
        self.active[run.id] = run
        for key in run.to_make():
            self._last[key] = max(self._last.get(key, (0, "")), (run.order, run.id))
        return run

    def _follow_attempts(self, run: Run, record: RunRecord) -> None:
        """Note why `run` cannot be launched. Its status changes with each attempt."""
        status = record.dagster_run.status
        if status is DagsterRunStatus.QUEUED:
            if run.updated != record.update_timestamp:
                run.updated = record.update_timestamp
                run.put_back = self._log.put_back(run.id)
        elif run.put_back is not None:
            starting = status is DagsterRunStatus.STARTING  # the next attempt, which may fail too
            run.put_back = self._log.put_back(run.id) if starting else None

    def _observing(self, run: Run) -> dict[str, str]:
        making = {step.partition(".")[0] for step in run.events.planned.values()}
        others = [step for step in run.events.steps if step.partition(".")[0] not in making]
        return {
            key: others[0] if len(others) == 1 and named not in others else named
            for key, named in self._observed.items()
            if key not in run.events.planned and (key in run.selection or named in others)
        }

    # --- failures and answers ---------------------------------------------------------------

    def add_current_version(self, made: Materialized) -> None:
        """Note that the asset has a new current version: what happened before is over."""
        self._failures.pop(made.key, None)
        self._answers.pop(made.key, None)
        self.add_delivery(made)

    def add_delivery(self, made: Materialized) -> None:
        """Note that a version was made by its run."""
        run = self.active.get(made.run_id)
        if run is not None:
            run.delivered[made.key] = made

    def settle(self, current: Callable[[str], Materialized | None]) -> list[Run]:
        """Count failures and note answers since the last read. Return the runs that have ended."""
        for run in self._ended.values():
            if not all(run.has_made(key) for key in run.to_make()):
                # Rare, so that a query of its own is no burden: its materializations may be older
                # than what the first read has read, or wiped.
                run.made = self._made_by(run)
        for run in sorted(self.active.values(), key=lambda run: run.order):
            for key, answer in self._new_answers(run):
                if not self.is_over(run, answer.at, current(key)):
                    self._answers[key] = answer
                    self._failures.pop(key, None)
            for key, failure in failures_of(run):
                if not self.is_over(run, failure.at, current(key)):
                    self._count(key, run, failure)
        ended = [run for run in self._ended.values() if not run.retry_promised]
        ended.sort(key=lambda run: run.order)
        self._ended.clear()
        for run in ended:
            self.tally.add_ended(run)
            self.active.pop(run.id, None)
            self._settled[run.id] = run.order
        while len(self._settled) > _SETTLED:
            self._settled.popitem(last=False)
        return ended

    def _made_by(self, run: Run) -> frozenset[str]:
        return frozenset(
            made.key
            for made in self._log.made_by_run(run.id)
            if not made.observed or made.key in self._observed
        )

    def _new_answers(self, run: Run) -> Iterator[tuple[str, Answer]]:
        """Yield the assets that a step of `run` was to make and that it had nothing to make of.

        Without those for which that, or something newer, is known.
        """
        asked = False
        for key, step in run.to_make().items():
            if run.has_made(key) or (at := run.answered(step)) is None:
                continue
            events = run.events.steps.get(step)
            if events is None and key in run.observing:
                continue  # a retry, which selects what its parent has observed
            known = self._answers.get(key)
            if max(known.order if known else -1, self._failed.get(key, -1)) >= run.order:
                continue
            if not run.finished and not asked:
                asked = True  # a version may have been wiped since
                run.made = self._made_by(run)
                if run.has_made(key):
                    continue
            start = run.events.start(step) or Start(at, events.position if events else None)
            yield key, Answer(run.order, at, start)

    def is_over(self, run: Run, at: float, current: Materialized | None) -> bool:
        """Return whether the asset was made since `at`, when `run` failed to or had nothing to.

        If possible, clocks are not compared.
        """
        if current is None:
            return False
        if current.run_id == run.id:
            return True
        maker = self.active.get(current.run_id)
        order = maker.order if maker else self._settled.get(current.run_id)
        return current.at >= at if order is None else order > run.order

    def _count(self, key: str, run: Run, failure: Failure) -> None:
        answer = self._answers.get(key)
        if answer is not None and answer.order > run.order:
            return
        self._failed[key] = max(self._failed.get(key, -1), run.order)
        failures = self._failures[key]
        failures[run.root_id] = failure.after(failures.get(run.root_id))

    # --- answers --------------------------------------------------------------------------

    def failures(self, key: str) -> Failures:
        """Return the asset's failures since its last materialization."""
        return failures_in_a_row(self._failures.get(key))

    def answer(self, key: str) -> Answer | None:
        """Return the answer of the asset's newest run; None: it has made something, or failed."""
        answer = self._answers.get(key)
        return answer if answer and answer.order > self._failed.get(key, -1) else None

    def last_run(self, key: str) -> str:
        """Return the id of the newest run that was to make the asset; "" for none."""
        return self._last.get(key, (0, ""))[1]

    def add_last_run(self, key: str, run_id: str) -> None:
        """Note the newest run of an asset, if no run of it was read."""
        self._last.setdefault(key, (0, run_id))

    def start(self, run_id: str, step: str) -> Start | None:
        """Return when a step began, or when its run did if the step has no start event.

        None: the run does not exist any more.
        """
        run = self.active.get(run_id)
        known = run.events.start(step) if run else self._starts.get((run_id, step))
        if known is not None:
            return known
        events = self._log.run_events(run_id)
        for other in (*events.steps, step):
            start = events.start(other)
            if start is not None:
                self._starts[run_id, other] = start
        while len(self._starts) > _STEPS:
            self._starts.popitem(last=False)
        if (run_id, step) in self._starts:
            return self._starts[run_id, step]
        records = self._log.run_records([run_id])
        began = records[0].start_time if records else None
        return None if began is None else Start(began, None)

    def promised_until(self) -> float:
        """Return when the first promised retry is not waited for any more; inf: none is."""
        ended = [run.ended for run in self.active.values() if run.retry_promised]
        return min((-inf if at is None else at + _RETRY_GRACE for at in ended), default=inf)

    def put_back(self, since: float) -> dict[str, PutBack]:
        """Return why runs of a location cannot be launched, by location, where that is so.

        After an attempt that failed, Dagster launches no run of the location until it tries again.
        What was before `since` tells nothing any more: it has stopped trying. Nor does an attempt
        after which another run of the location has begun.
        """
        found: dict[str, PutBack] = {}
        begun: dict[str, float] = {}
        for run in self.active.values():
            if run.location is None:
                continue
            if run.started is not None:
                begun[run.location] = max(run.started, begun.get(run.location, run.started))
            if run.put_back is not None and run.put_back.at >= since:
                found[run.location] = max(run.put_back, found.get(run.location, run.put_back))
        return {
            location: last
            for location, last in found.items()
            if last.at >= begun.get(location, last.at)
        }

    def pending(self) -> dict[str, list[tuple[Run, str]]]:
        """Return the runs that will still deliver each asset, by key, with the step that does."""
        pending: defaultdict[str, list[tuple[Run, str]]] = defaultdict(list)
        for run in self.active.values():
            if run.retry_promised:
                for key, step in run.to_make().items():
                    if not run.has_made(key) and run.events.answered(step) is None:
                        pending[key].append((run, step))
            else:
                for key, step in run.still_to_make():
                    pending[key].append((run, step))
        return pending


def _new_run(record: RunRecord) -> Run:
    run, created = record.dagster_run, record.create_timestamp.timestamp()
    return Run(
        id=run.run_id,
        root_id=run.root_run_id or run.run_id,
        order=record.storage_id,
        created=created,
        planned=planned_at(run.tags) if run.parent_run_id is None else None,
        status=DagsterRunStatus.NOT_STARTED,
        location=run.remote_job_origin.location_name if run.remote_job_origin else None,
        is_request=reason_of(run.tags) is not None and run.parent_run_id is None,
        selection=frozenset(key.to_user_string() for key in run.asset_selection or ()),
        partition=run.tags.get(PARTITION),
        pools=frozenset(run.run_op_concurrency.all_pools or () if run.run_op_concurrency else ()),
    )


def reason_of(tags: Mapping[str, str]) -> str | None:
    """Return why freshline has requested a run with these tags; None: it has not."""
    return tags.get(REASON_TAG, tags.get(OLD_REASON_TAG))


def planned_at(tags: Mapping[str, str]) -> float | None:
    """Return when (epoch seconds) the plan that asked for a run was made; None: none asked.

    The tag does not count for a retry, which has its parent's tags.
    """
    if PARENT_RUN in tags:
        return None
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
        if run.has_made(key) or run.answered(step_key) is not None:
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
            if run.status is DagsterRunStatus.CANCELED:
                yield key, Failure(at, at, "the run was cancelled")
            elif crashed or started:
                yield key, Failure(at, at, run.events.error or "the run failed")
