"""The event log: materializations, observations and runs as freshline needs them.

This module asks Dagster for events of one asset or run, and for what is new; `bulk` reads all that
has happened in some time. `materialized` and `run_events` know what is in an event. Every point in
time is UTC in epoch seconds; an asset is named by its user string.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagster import (
    AssetKey,
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

from freshline.history.materialized import (
    MADE,
    OBSERVED,
    Materialized,
    as_materialized,
    materialized_in,
    metadata_of,
)
from freshline.history.run_events import RUN_EVENTS, PutBack, RunEvents, put_back_by
from freshline.names import CONTRACT_PREFIX

if TYPE_CHECKING:
    from dagster import EventLogRecord, RunRecord

__all__ = ["FINISHED", "RESULTS", "STATUS_EVENTS", "EventLog", "Happened"]

_NO_RUN: Final = ""  # the run id of events that are reported outside a run
_BATCH: Final = 1_000
_RUNS_BATCH: Final = 200
_PARTITIONS_BATCH: Final = 500
RESULTS: Final[Mapping[DagsterRunStatus, str]] = {
    DagsterRunStatus.SUCCESS: "succeeded",
    DagsterRunStatus.FAILURE: "failed",
    DagsterRunStatus.CANCELED: "canceled",
}
"""How a run can end, and what that is called in what freshline prints and exports."""
FINISHED: Final = frozenset(RESULTS)
_UNFINISHED: Final = tuple(status for status in DagsterRunStatus if status not in FINISHED)
STATUS_EVENTS: Final = {
    DagsterEventType.RUN_ENQUEUED,
    DagsterEventType.RUN_STARTING,
    DagsterEventType.RUN_START,
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
}
"""Those that tell of a new status of a run."""
_HAPPENINGS: Final = {*RUN_EVENTS, *STATUS_EVENTS, MADE, OBSERVED, DagsterEventType.ASSET_WIPED}


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
        return self._all_after(MADE, after)

    def observations_after(self, after: int) -> Iterator[Materialized]:
        """Yield every observation of every asset with an id above `after`, in order."""
        return self._all_after(OBSERVED, after)

    def _all_after(self, kind: DagsterEventType, after: int) -> Iterator[Materialized]:
        while True:
            records = self._records(_filter(kind, after=after), limit=_BATCH, ascending=True)
            yield from materialized_in(records)
            if len(records) < _BATCH:
                return
            after = records[-1].storage_id

    def newest_materializations(self, limit: int) -> list[Materialized]:
        """Return the newest materializations of all assets together, oldest first."""
        records = self._records(_filter(MADE), limit=limit, ascending=False)
        return list(materialized_in(reversed(records)))

    def newest_observations(self, limit: int) -> list[Materialized]:
        """Return the newest observations of all assets together, oldest first."""
        records = self._records(_filter(OBSERVED), limit=limit, ascending=False)
        return list(materialized_in(reversed(records)))

    def materializations_by_id(self, ids: Iterable[int]) -> list[Materialized]:
        """Return those materializations and observations of `ids` that still exist."""
        wanted = set(ids)
        made = list(materialized_in(self._records_by_id(wanted)))
        wanted -= {it.id for it in made}
        return [*made, *materialized_in(self._records_by_id(wanted, OBSERVED))]

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
        return list(materialized_in(found))

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
                made = as_materialized(last) if last else None
                if key in observable:
                    # A record has the last observation only on Dagster+.
                    seen = self.instance.fetch_observations(entry.asset_key, limit=1).records
                    if seen and (last is None or seen[0].storage_id > last.storage_id):
                        made = as_materialized(seen[0])
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
            AssetKey.from_user_string(key), MADE
        )

    def versions_of_partitions(self, key: str, names: Iterable[str]) -> Iterator[Materialized]:
        """Yield every version of some partitions of an asset."""
        for batch in _batches(sorted(names), _PARTITIONS_BATCH):
            after: int | None = None
            while True:
                wanted = EventRecordsFilter(
                    MADE,
                    asset_key=AssetKey.from_user_string(key),
                    asset_partitions=batch,
                    after_cursor=after,
                )
                records = self._records(wanted, limit=_BATCH, ascending=True)
                yield from materialized_in(records)
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
        connection = self.instance.get_records_for_run(run_id, of_type=MADE)
        return {(made.key, made.partition) for made in materialized_in(connection.records)}

    def _records_by_id(
        self, ids: Iterable[int], kind: DagsterEventType = MADE
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
            run_id, cursor=events.cursor, of_type=RUN_EVENTS
        )
        one_log = not self.instance.event_log_storage.is_run_sharded
        for record in connection.records:
            events.add(record, record.storage_id if one_log else None)
        events.cursor = connection.cursor
        return events

    def put_back(self, run_id: str) -> PutBack | None:
        """Return why a run could not be launched, if its launch has said nothing since."""
        last = self.instance.get_records_for_run(
            run_id, of_type=DagsterEventType.ENGINE_EVENT, limit=1, ascending=False
        )
        return put_back_by(last.records[0].event_log_entry) if last.records else None

    def made_by_run(self, run_id: str) -> list[Materialized]:
        """Return what a run has materialized and observed, wiped since or not."""
        connection = self.instance.get_records_for_run(run_id, of_type={MADE, OBSERVED})
        return list(materialized_in(connection.records))

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


def _filter(
    kind: DagsterEventType, *, after: int | None = None, ids: Sequence[int] | None = None
) -> EventRecordsFilter:
    return EventRecordsFilter(kind, after_cursor=after, storage_ids=ids)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
