"""The event log: materializations, observations and runs as freshline needs them.

This is the only module that knows how Dagster stores events. Every point in time is UTC in
epoch seconds; an asset is named by its user string.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    EventLogEntry,
    EventRecordsFilter,
    RunsFilter,
)
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster_shared.serdes import deserialize_value
from sqlalchemy import case, select

from freshline.names import (
    CODE_VERSION_TAG,
    CONTRACT_PREFIX,
    DATA_TIME,
    DATA_VERSION,
    DATA_VERSION_SET,
    INPUT_POINTER,
    LAST_UPDATED,
)

if TYPE_CHECKING:
    from dagster import EventLogRecord, RunRecord

__all__ = [
    "FINISHED",
    "STATUS_EVENTS",
    "EventLog",
    "Happened",
    "Materialized",
    "RunEvents",
    "Start",
    "StepEvents",
    "metadata_of",
    "stated_data_time",
]

_NO_RUN: Final = ""  # the run id of events that are reported outside a run
_BATCH: Final = 1_000
_RUNS_BATCH: Final = 200
_PARTITIONS_BATCH: Final = 500
FINISHED: Final = frozenset(
    {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}
)
_UNFINISHED: Final = tuple(status for status in DagsterRunStatus if status not in FINISHED)
_RUN_EVENTS: Final = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.RUN_STARTING,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_FAILURE,
}
STATUS_EVENTS: Final = {
    DagsterEventType.RUN_ENQUEUED,
    DagsterEventType.RUN_STARTING,
    DagsterEventType.RUN_START,
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
}
"""Those that tell of a new status of a run."""
_HAPPENINGS: Final = {
    *_RUN_EVENTS,
    *STATUS_EVENTS,
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_WIPED,
}

_MADE: Final = DagsterEventType.ASSET_MATERIALIZATION
_OBSERVED: Final = DagsterEventType.ASSET_OBSERVATION


@dataclass(frozen=True, slots=True)
class Materialized:
    """One materialization or observation, as it was written. Nothing about it ever changes."""

    id: int
    key: str
    at: float
    run_id: str
    """"" for one that was reported outside a run."""
    step: str
    data_time: float | None
    """What its own metadata states; None: nothing."""
    consumed: tuple[tuple[str, int | None], ...]
    """The id of the version that was read of each input; None: the input had no version. Of an
    input with partitions: the id of its newest version of any partition, which says up to where in
    the log its versions were there to be read."""
    partition: str | None = None
    """The key of its partition; None: it has none."""
    data_version: str | None = None
    """The data version that a step or an observation has set; None: none was set."""
    code_version: str | None = None
    observed: bool = False
    """Whether it was observed, not made."""
    last_updated: float | None = None
    """When what it is about was last updated, as Dagster's own metadata says; None: it does not."""


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
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    """Set when the step failed."""
    position: int | None = None
    """The id of the event with which it began, or was skipped; None: see `Start`."""


@dataclass(slots=True)
class RunEvents:
    """What a run was to make, and how far its steps have come."""

    planned: dict[str, str] = field(default_factory=dict)
    """The step that makes each asset, by key."""
    partitions: dict[str, list[str]] = field(default_factory=dict)
    """The partitions to make of each partitioned asset, by key."""
    launched: float | None = None
    steps: dict[str, StepEvents] = field(default_factory=dict)
    error: str | None = None
    cursor: str | None = None
    """Where the next read of the run's events goes on."""

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


class Happened(NamedTuple):
    """One event that a plan may depend on, without its content."""

    id: int
    kind: DagsterEventType
    key: AssetKey | None
    run_id: str
    entry: EventLogEntry | None
    """The whole event, if it is one of freshline's own; None: it was not read."""


class EventLog:
    """Reads what `instance` has stored; remembers nothing."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance = instance

    # --- materializations and observations --------------------------------------------------

    def materializations_after(self, after: int) -> Iterator[Materialized]:
        """Yield every materialization of every asset with an id above `after`, in order."""
        return self._all_after(_MADE, after)

    def observations_after(self, after: int) -> Iterator[Materialized]:
        """Yield every observation of every asset with an id above `after`, in order."""
        return self._all_after(_OBSERVED, after)

    def _all_after(self, kind: DagsterEventType, after: int) -> Iterator[Materialized]:
        while True:
            records = self._records(_filter(kind, after=after), limit=_BATCH, ascending=True)
            yield from _materialized_all(records)
            if len(records) < _BATCH:
                return
            after = records[-1].storage_id

    def newest_materializations(self, limit: int) -> list[Materialized]:
        """Return the newest materializations of all assets together, oldest first."""
        records = self._records(_filter(_MADE), limit=limit, ascending=False)
        return list(_materialized_all(reversed(records)))

    def newest_observations(self, limit: int) -> list[Materialized]:
        """Return the newest observations of all assets together, oldest first."""
        records = self._records(_filter(_OBSERVED), limit=limit, ascending=False)
        return list(_materialized_all(reversed(records)))

    def materializations_by_id(self, ids: Iterable[int]) -> list[Materialized]:
        """Return those materializations and observations of `ids` that still exist."""
        wanted = set(ids)
        made = list(_materialized_all(self._records_by_id(wanted)))
        wanted -= {it.id for it in made}
        return [*made, *_materialized_all(self._records_by_id(wanted, _OBSERVED))]

    def newest_before(
        self, key: str, before: int | None, limit: int = 1, *, observations: bool = False
    ) -> list[Materialized]:
        """Return the newest events of an asset with an id below `before`, newest first.

        Those are its materializations, and its observations too if `observations`. There are at
        least `limit` of them if it has so many.
        """
        return self._events_of(key, limit, observations=observations, before_storage_id=before)

    def oldest_after(
        self, key: str, after: int, limit: int, *, observations: bool = False
    ) -> list[Materialized]:
        """Return the first `limit` events of an asset with an id above `after`, in order."""
        found = self._events_of(
            key, limit, observations=observations, ascending=True, after_storage_id=after
        )
        return found[:limit]

    def _events_of(
        self, key: str, limit: int, *, observations: bool, ascending: bool = False, **ids: Any
    ) -> list[Materialized]:
        wanted = AssetRecordsFilter(AssetKey.from_user_string(key), **ids)
        found = list(
            self.instance.fetch_materializations(wanted, limit, ascending=ascending).records
        )
        if observations:
            found.extend(
                self.instance.fetch_observations(wanted, limit, ascending=ascending).records
            )
        found.sort(key=lambda record: record.storage_id, reverse=not ascending)
        return list(_materialized_all(found))

    def metadata_by_id(self, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Return the metadata of those materializations that still exist."""
        return {
            record.storage_id: metadata_of(record.event_log_entry)
            for record in self._records_by_id(ids)
        }

    def latest_versions(
        self, keys: Iterable[str], observable: Collection[str] = ()
    ) -> dict[str, tuple[Materialized | None, str]]:
        """Return the current version and the newest run's id of each asset that has a record.

        An observation of one that is `observable` is a version too.
        """
        latest: dict[str, tuple[Materialized | None, str]] = {}
        for batch in _batches(sorted(keys), _BATCH):
            paths = [AssetKey.from_user_string(key) for key in batch]
            for record in self.instance.get_asset_records(paths):
                entry = record.asset_entry
                key = entry.asset_key.to_user_string()
                last = entry.last_materialization_record
                made = _materialized(last) if last else None
                if key in observable:
                    # A record has the last observation only on Dagster+.
                    seen = self.instance.fetch_observations(entry.asset_key, limit=1).records
                    if seen and (last is None or seen[0].storage_id > last.storage_id):
                        made = _materialized(seen[0])
                # As soon as a new run plans a wiped asset, Dagster 1.12 shows what was wiped again.
                wiped = entry.asset_details.last_wipe_timestamp if entry.asset_details else None
                if made and wiped and made.at <= wiped:
                    made = None
                latest[key] = made, entry.last_run_id or ""
        return latest

    # --- partitions -----------------------------------------------------------------------

    def newest_of_partitions(self, key: str) -> Mapping[str, int]:
        """Return the id of the newest version of each partition of an asset, by partition key."""
        return self.instance.get_latest_storage_id_by_partition(
            AssetKey.from_user_string(key), DagsterEventType.ASSET_MATERIALIZATION
        )

    def versions_of_partitions(self, key: str, names: Iterable[str]) -> Iterator[Materialized]:
        """Yield every version of some partitions of an asset."""
        for batch in _batches(sorted(names), _PARTITIONS_BATCH):
            after: int | None = None
            while True:
                wanted = EventRecordsFilter(
                    DagsterEventType.ASSET_MATERIALIZATION,
                    asset_key=AssetKey.from_user_string(key),
                    asset_partitions=batch,
                    after_cursor=after,
                )
                records = self._records(wanted, limit=_BATCH, ascending=True)
                yield from _materialized_all(records)
                if len(records) < _BATCH:
                    break
                after = records[-1].storage_id

    def runs_without_version(self, key: str) -> dict[str, str]:
        """Return the newest run of each partition that has not made it (yet), by partition key."""
        storage = self.instance.event_log_storage
        attempts = (
            storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                AssetKey.from_user_string(key)
            )
        )
        return {name: run_id for name, (run_id, _) in attempts.items()}

    def dynamic_partitions(self, name: str) -> Sequence[str]:
        """Return the keys of a set of dynamic partitions."""
        return self.instance.get_dynamic_partitions(name)

    def partitions_made_by_run(self, run_id: str) -> set[tuple[str, str | None]]:
        """Return the assets and partitions that a run has materialized, wiped since or not."""
        connection = self.instance.get_records_for_run(
            run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
        )
        return {(made.key, made.partition) for made in _materialized_all(connection.records)}

    def _records_by_id(
        self, ids: Iterable[int], kind: DagsterEventType = _MADE
    ) -> Iterator[EventLogRecord]:
        for batch in _batches(sorted(set(ids)), _BATCH):
            yield from self._records(_filter(kind, ids=batch), limit=None, ascending=True)

    def _records(
        self, event_filter: EventRecordsFilter, *, limit: int | None, ascending: bool
    ) -> Sequence[EventLogRecord]:
        # `fetch_materializations` and `fetch_observations`, which the warnings recommend, answer
        # for one asset at a time: a tick over 10,000 assets would ask 10,000 questions.
        # `get_event_records` is deprecated "for 2.0"; freshline supports Dagster below 1.14. The
        # filter is not undone afterwards because `warnings.catch_warnings` is not safe in a code
        # server's threads.
        warnings.filterwarnings("ignore", message=".*fetch_(materializations|observations) instead")
        warnings.filterwarnings("ignore", message=".*get_event_records.* is deprecated")
        return self.instance.get_event_records(event_filter, limit=limit, ascending=ascending)

    # --- whether anything has happened --------------------------------------------------------

    def end(self) -> int | None:
        """Return the id of the newest event of any kind; 0: there is none.

        None: the storage has no order of all events, because each run has a log of its own.
        """
        storage = self.instance.event_log_storage
        if not isinstance(storage, SqlEventLogStorage) or storage.is_run_sharded:
            return None
        return storage.get_maximum_record_id() or 0

    def happened_after(self, after: int) -> list[Happened]:
        """Return the events with an id above `after` that a plan may depend on, in order.

        Only for a storage that has an `end`. Dagster's own readers would parse every event, which
        takes longer than all else in a tick in which nothing has happened.
        """
        storage = self.instance.event_log_storage
        if not isinstance(storage, SqlEventLogStorage):
            raise TypeError(f"{type(storage).__name__} has no order of all events")
        log = SqlEventLogStorageTable.c
        own = log.asset_key.like(f'["{CONTRACT_PREFIX[0]}", %')
        wanted = (
            select(
                log.id,
                log.dagster_event_type,
                log.asset_key,
                log.run_id,
                case((own, log.event), else_=None),
            )
            .where(log.id > after)
            .where(log.dagster_event_type.in_([kind.value for kind in _HAPPENINGS]))
            .order_by(log.id)
        )
        with storage.index_connection() as connection:
            rows = connection.execute(wanted).fetchall()
        return [
            Happened(
                id_,
                DagsterEventType(kind),
                AssetKey.from_db_string(key),
                run_id or _NO_RUN,
                deserialize_value(text, EventLogEntry) if text else None,
            )
            for id_, kind, key, run_id, text in rows
        ]

    # --- wiped assets ---------------------------------------------------------------------

    def latest_wipe(self) -> str | None:
        """Return a cursor for `wiped_after` that stands at the end of the log."""
        return self.instance.get_records_for_run(
            _NO_RUN, of_type=DagsterEventType.ASSET_WIPED, limit=1, ascending=False
        ).cursor

    def wiped_after(self, cursor: str | None) -> tuple[set[str], str | None]:
        """Return the assets that were wiped after `cursor`, and the cursor to go on from."""
        connection = self.instance.get_records_for_run(
            _NO_RUN, cursor=cursor, of_type=DagsterEventType.ASSET_WIPED
        )
        events = [record.event_log_entry.dagster_event for record in connection.records]
        keys = {event.asset_key.to_user_string() for event in events if event and event.asset_key}
        return keys, connection.cursor

    # --- runs -----------------------------------------------------------------------------

    def run_events(self, run_id: str, known: RunEvents | None = None) -> RunEvents:
        """Return what a run planned and did. With `known`, only newer events are read, into it."""
        events = known or RunEvents()
        connection = self.instance.get_records_for_run(
            run_id, cursor=events.cursor, of_type=_RUN_EVENTS
        )
        one_log = not self.instance.event_log_storage.is_run_sharded
        for record in connection.records:
            _add_run_event(events, record, record.storage_id if one_log else None)
        events.cursor = connection.cursor
        return events

    def made_by_run(self, run_id: str) -> list[Materialized]:
        """Return what a run has materialized and observed, wiped since or not."""
        connection = self.instance.get_records_for_run(run_id, of_type={_MADE, _OBSERVED})
        return list(_materialized_all(connection.records))

    def run_records(self, run_ids: Iterable[str]) -> list[RunRecord]:
        """Return the records of those runs that still exist."""
        return [
            record
            for batch in _batches(sorted(run_ids), _RUNS_BATCH)
            for record in self.instance.get_run_records(RunsFilter(run_ids=batch))
        ]

    def location_of_run(self, run_id: str) -> str | None:
        """Return the code location that a run was started in; None: it is not known."""
        run = self.instance.get_run_by_id(run_id)
        origin = run.remote_job_origin if run else None
        return origin.location_name if origin else None

    def newest_runs(self, limit: int) -> Sequence[RunRecord]:
        """Return the records of the newest runs, newest first."""
        return self.instance.get_run_records(limit=limit)

    def unfinished_run_ids(self) -> frozenset[str]:
        """Return the ids of all runs that are queued or in progress."""
        storage = self.instance.run_storage
        return frozenset(storage.get_run_ids(RunsFilter(statuses=list(_UNFINISHED))))

    def unfinished_runs(self) -> Sequence[RunRecord]:
        """Return the records of all runs that are queued or in progress."""
        return self.instance.get_run_records(RunsFilter(statuses=list(_UNFINISHED)))


# --- from Dagster's events to freshline's -------------------------------------------------------


def _filter(
    kind: DagsterEventType, *, after: int | None = None, ids: Sequence[int] | None = None
) -> EventRecordsFilter:
    return EventRecordsFilter(kind, after_cursor=after, storage_ids=ids)


def _materialized_all(records: Iterable[EventLogRecord]) -> Iterator[Materialized]:
    return (made for record in records if (made := _materialized(record)))


def _materialized(record: EventLogRecord) -> Materialized | None:
    entry = record.event_log_entry
    event = entry.dagster_event
    if event is None or event.event_type not in (_MADE, _OBSERVED):
        return None
    observed = event.event_type is _OBSERVED
    about: AssetMaterialization | AssetObservation = (
        event.asset_observation_data.asset_observation
        if observed
        else event.step_materialization_data.materialization
    )
    tags = about.tags or {}
    return Materialized(
        id=record.storage_id,
        key=about.asset_key.to_user_string(),
        at=entry.timestamp,
        run_id=entry.run_id,
        step=entry.step_key or "",
        data_time=stated_data_time(about.metadata),
        consumed=() if observed else tuple(_consumed(tags)),
        partition=about.partition,
        data_version=_set_data_version(tags, by_default=bool(entry.run_id) and not observed),
        code_version=tags.get(CODE_VERSION_TAG),
        observed=observed,
        last_updated=_time_in(about.metadata, LAST_UPDATED),
    )


def _set_data_version(tags: Mapping[str, str], *, by_default: bool) -> str | None:
    """Return the data version that somebody has set; None: nobody has.

    Dagster gives one `by_default` to what a step materializes, and to nothing else.
    """
    if by_default and tags.get(DATA_VERSION_SET) != "true":
        return None
    return tags.get(DATA_VERSION)


def _consumed(tags: Mapping[str, str]) -> Iterator[tuple[str, int | None]]:
    for tag, pointer in tags.items():
        if tag.startswith(INPUT_POINTER):
            yield tag[len(INPUT_POINTER) :], int(pointer) if pointer.isdecimal() else None


def metadata_of(entry: EventLogEntry | None) -> dict[str, Any]:
    """Return the values of a materialization's metadata, by name."""
    made = entry.asset_materialization if entry else None
    return {name: value.value for name, value in made.metadata.items()} if made else {}


def stated_data_time(metadata: Mapping[str, Any]) -> float | None:
    """Return the data time that metadata states, in epoch seconds; None: it states none.

    It may be a timestamp, a number, or ISO 8601 text with a time zone.
    """
    return _time_in(metadata, DATA_TIME)


def _time_in(metadata: Mapping[str, Any], name: str) -> float | None:
    value = getattr(metadata.get(name), "value", metadata.get(name))
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            return None
        return time.timestamp() if time.tzinfo else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return None


def _add_run_event(events: RunEvents, record: EventLogRecord, position: int | None) -> None:
    entry = record.event_log_entry
    event = entry.dagster_event
    if event is None:
        return
    kind = event.event_type
    if kind is DagsterEventType.ASSET_MATERIALIZATION_PLANNED and event.asset_key:
        key = event.asset_key.to_user_string()
        events.planned[key] = entry.step_key or ""
        plan = event.asset_materialization_planned_data
        if plan.partition is not None:
            events.partitions.setdefault(key, []).append(plan.partition)
        elif plan.partitions_subset is not None:
            events.partitions[key] = list(plan.partitions_subset.get_partition_keys())
    elif kind is DagsterEventType.RUN_STARTING:
        events.launched = entry.timestamp
    elif kind is DagsterEventType.RUN_FAILURE:
        data = event.event_specific_data
        events.error = _root_error(getattr(data, "error", None)) or event.message or entry.message
    elif entry.step_key:
        _add_step_event(events.steps.setdefault(entry.step_key, StepEvents()), entry, position)


def _add_step_event(step: StepEvents, entry: EventLogEntry, position: int | None) -> None:
    event = entry.dagster_event
    kind = event.event_type if event else None
    # The first attempt counts: a retry of the step may go on with what it had read.
    if kind is DagsterEventType.STEP_START and step.started is None:
        step.started, step.position = entry.timestamp, position
    if kind is DagsterEventType.STEP_SKIPPED and step.started is None:
        step.position = position
    if kind is not DagsterEventType.STEP_START:
        step.ended = entry.timestamp
    if event and kind is DagsterEventType.STEP_FAILURE:
        step.error = _root_error(event.step_failure_data.error) or "step failed"


def _root_error(error: Any) -> str | None:
    """Return the first line of the innermost cause, short enough for a message."""
    if error is None:
        return None
    while error.cause is not None:
        error = error.cause
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    return lines[0][:300] if lines else None


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
