"""The event log in bulk: all that has happened between two positions, in a few questions.

`events` answers for one asset or one run at a time, and Dagster parses every event that it returns.
A report over a week needs ten thousand runs. So only what has content of its own is parsed here; of
all other events, the columns suffice. Every point in time is UTC in epoch seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from dagster import AssetKey, DagsterEventType, DagsterInstance, EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster_shared.serdes import deserialize_value
from sqlalchemy import func, or_, select

from freshline.errors import InstanceError
from freshline.history.materialized import MADE, OBSERVED, Materialized, materialized_of
from freshline.history.past import PastRun, Silence
from freshline.history.run_events import RunEvents, StepEvents
from freshline.history.runs import planned_at
from freshline.names import CONTRACT_PREFIX, PARENT_RUN, PLANNED_TAG
from freshline.planner import is_silent

__all__ = ["AssetEvent", "BulkReader"]

_PAGE: Final = 2_000
_LONGEST_RUN: Final = timedelta(days=7)
"""A run that has not ended is looked for so long before the time in question."""

_WIPED: Final = DagsterEventType.ASSET_WIPED
_ABOUT_ASSETS: Final = (MADE, OBSERVED, _WIPED)
_ABOUT_STEPS: Final = (
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_FAILURE,
)
_LAUNCHED: Final = DagsterEventType.RUN_STARTING
_OWN_ASSETS: Final = f'["{CONTRACT_PREFIX[0]}", %'
_CONTRACTS: Final = f'["{CONTRACT_PREFIX[0]}", "{CONTRACT_PREFIX[1]}", %'


class AssetEvent(NamedTuple):
    """A version of an asset, or the end of all its versions."""

    id: int
    key: str
    at: float
    made: Materialized | None
    """None: the asset was wiped."""


class BulkReader:
    """Reads what `instance` has stored; remembers nothing.

    Raises `InstanceError` if the instance keeps events or runs in no database that it knows.
    """

    def __init__(self, instance: DagsterInstance) -> None:
        events, runs = instance.event_log_storage, instance.run_storage
        if not isinstance(events, SqlEventLogStorage) or not isinstance(runs, SqlRunStorage):
            raise InstanceError(
                f"{type(events).__name__} and {type(runs).__name__} cannot be read in bulk; what "
                "has happened over time can be told where Dagster's storage is Postgres, MySQL or "
                "SQLite."
            )
        self._events = events
        self._runs = runs

    # --- positions ------------------------------------------------------------------------

    def first(self) -> tuple[int, float] | None:
        """Return the id and the time of the oldest event that there is; None: there is none."""
        return self._first_from(0)

    def last(self) -> int:
        """Return the id of the newest event; 0: there is none."""
        with self._events.index_connection() as connection:
            return connection.execute(select(func.max(_LOG.id))).scalar() or 0

    def position_at(self, at: float) -> int:
        """Return the id of the last event before the time `at`; 0: there is none.

        Ids and times go up together, but for some seconds by which clocks differ.
        """
        first = self.first()
        if first is None:
            return 0
        before, after = first[0] - 1, self.last() + 1
        # What has the id `before`, or a lower one, was before `at`; from `after` on, nothing was.
        while before + 1 < after:
            middle = (before + after) // 2
            found = self._first_from(middle)
            if found is None or found[0] >= after or found[1] >= at:
                after = middle
            else:
                before = found[0]
        return max(before, 0)

    def _first_from(self, position: int) -> tuple[int, float] | None:
        wanted = select(_LOG.id, _LOG.timestamp).where(_LOG.id >= position)
        with self._events.index_connection() as connection:
            row = connection.execute(wanted.order_by(_LOG.id).limit(1)).fetchone()
        return (row[0], _seconds(row[1])) if row else None

    # --- events ---------------------------------------------------------------------------

    def asset_events(self, after: int, until: int) -> Iterator[AssetEvent]:
        """Yield the versions and wipes with an id above `after` and up to `until`, in order.

        Contracts and pauses, which are freshline's own, are left out.
        """
        while True:
            wanted = (
                select(_LOG.id, _LOG.dagster_event_type, _LOG.asset_key, _LOG.timestamp, _LOG.event)
                .where(_LOG.id > after, _LOG.id <= until)
                .where(_LOG.dagster_event_type.in_([kind.value for kind in _ABOUT_ASSETS]))
                .where(_LOG.asset_key.not_like(_OWN_ASSETS))
                .order_by(_LOG.id)
                .limit(_PAGE)
            )
            rows = self._fetch(wanted)
            for id_, kind, key, at, text in rows:
                if kind == _WIPED.value:
                    yield AssetEvent(id_, _user_string(key), _seconds(at), None)
                elif made := materialized_of(id_, deserialize_value(text, EventLogEntry)):
                    yield AssetEvent(id_, made.key, made.at, made)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def run_events(self, after: int, until: int) -> dict[str, RunEvents]:
        """Return when runs were launched and when their steps began and ended, by run id.

        Empty if each run has a log of its own.
        """
        found: dict[str, RunEvents] = {}
        if self._events.is_run_sharded:
            return found
        kinds = {kind.value: kind for kind in (*_ABOUT_STEPS, _LAUNCHED)}
        wanted = (
            select(_LOG.id, _LOG.dagster_event_type, _LOG.run_id, _LOG.step_key, _LOG.timestamp)
            .where(_LOG.id > after, _LOG.id <= until)
            .where(_LOG.dagster_event_type.in_(list(kinds)))
            .order_by(_LOG.id)
        )
        for id_, kind, run_id, step, at in self._fetch(wanted):
            events = found.setdefault(run_id, RunEvents())
            if kind == _LAUNCHED.value:
                events.launch(_seconds(at))
            elif step:
                told = events.steps.setdefault(step, StepEvents())
                told.note(kinds[kind], _seconds(at), id_)
        return found

    def silences(
        self, after: int, until: int, ticks: Mapping[str, float], now: float
    ) -> list[Silence]:
        """Return when locations were not heard of between the events `after` and `until`.

        `ticks` has the locations, and the seconds between two plans of each. Who was not heard of
        up to `now` is silent still.
        """
        wanted = (
            select(_LOG.id, _LOG.asset_key, _LOG.timestamp)
            .where(_LOG.id > after, _LOG.id <= until)
            .where(_LOG.dagster_event_type == MADE.value, _LOG.asset_key.like(_CONTRACTS))
            .order_by(_LOG.id)
        )
        heard = {location: last for location in ticks if (last := self._heard(location, after))}
        found: list[Silence] = []
        for id_, key, stored_at in self._fetch(wanted):
            location, at = _user_string(key).rpartition("/")[2], _seconds(stored_at)
            last = heard.get(location)
            if last and location in ticks and is_silent(last[1], ticks[location], at):
                found.append(Silence(last[0], location, last[1], at))
            heard[location] = id_, at
        found.extend(
            Silence(id_, location, at, None)
            for location, (id_, at) in heard.items()
            if location in ticks and is_silent(at, ticks[location], now)
        )
        return found

    def _heard(self, location: str, until: int) -> tuple[int, float] | None:
        """Return the id and the time of the last sign of life of a location; None: there is none.

        Only events up to the id `until` count.
        """
        key = AssetKey([*CONTRACT_PREFIX, location]).to_string()
        wanted = (
            select(_LOG.id, _LOG.timestamp)
            .where(_LOG.asset_key == key, _LOG.dagster_event_type == MADE.value)
            .where(_LOG.id <= until)
            .order_by(_LOG.id.desc())
            .limit(1)
        )
        rows = self._fetch(wanted)
        return (rows[0][0], _seconds(rows[0][1])) if rows else None

    def _fetch(self, wanted: Any) -> list[Any]:
        with self._events.index_connection() as connection:
            return list(connection.execute(wanted).fetchall())

    # --- runs -----------------------------------------------------------------------------

    def runs(self, begin: float) -> list[PastRun]:
        """Return the runs that had not ended at the time `begin`, and those that came after it.

        Of one that is not over, the status is that of now, and the end is infinite.
        """
        oldest = _naive(begin) - _LONGEST_RUN
        table = RunsTable.c
        wanted = (
            select(
                table.run_id,
                table.status,
                table.start_time,
                table.end_time,
            )
            .where(table.create_timestamp >= oldest)
            .where(or_(table.end_time.is_(None), table.end_time >= begin))
            .order_by(table.id)
        )
        with self._runs.connect() as connection:
            rows = connection.execute(wanted).fetchall()
        tags = self._tags(oldest, (PLANNED_TAG, PARENT_RUN))
        return [
            PastRun(
                id=run_id,
                status=status,
                ended=float("inf") if ended is None else ended,
                launched=started,
                requested=planned_at(tags.get(run_id, {})),
            )
            for run_id, status, started, ended in rows
        ]

    def _tags(self, oldest: datetime, keys: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the values of some tags of the runs that were created since `oldest`."""
        wanted = (
            select(RunTagsTable.c.run_id, RunTagsTable.c.key, RunTagsTable.c.value)
            .join(RunsTable, RunsTable.c.run_id == RunTagsTable.c.run_id)
            .where(RunsTable.c.create_timestamp >= oldest, RunTagsTable.c.key.in_(list(keys)))
        )
        found: dict[str, dict[str, str]] = {}
        with self._runs.connect() as connection:
            for run_id, key, value in connection.execute(wanted).fetchall():
                found.setdefault(run_id, {})[key] = value
        return found


_LOG: Final = SqlEventLogStorageTable.c


def _user_string(key: str) -> str:
    found = AssetKey.from_db_string(key)
    return found.to_user_string() if found else ""


def _seconds(stored: datetime) -> float:
    """Return a time of Dagster's tables, which is UTC and does not say so."""
    return stored.replace(tzinfo=UTC).timestamp()


def _naive(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
