"""The compact history: one small row for each version, which outlives the events of the log.

It is in tables of our own, beside Dagster's event log. `freshline keep` writes them with the rights
of the host; code locations have no right to them, and need none. A row is named by the event that
it follows from, so that it is there once, whoever writes it and how often. A period is written
together with its rows, in one transaction: what it covers is there, all of it.

`metadata` describes the tables. They are an interface, so columns are only ever added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from dagster import DagsterInstance
from dagster._core.storage.event_log import SqlEventLogStorage
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from freshline.errors import InstanceError
from freshline.history.bulk import BulkReader
from freshline.history.past import (
    Change,
    ChangeKind,
    Past,
    PastRun,
    Period,
    Silence,
    Verdict,
)
from freshline.history.replay import replay
from freshline.model import Graph, Phase, TargetStatus
from freshline.words import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Kept", "keep", "metadata", "read_past"]

_UNSETTLED: Final = 60.0  # seconds after which no event with a lower id is committed any more
_AT_ONCE: Final = 1_000  # rows
_NAME: Final = sa.String(512)
_RUN: Final = sa.String(64)
_SECONDS: Final = sa.Float(53)

metadata: Final = sa.MetaData()

_PERIODS: Final = sa.Table(
    "freshline_periods",
    metadata,
    sa.Column("event", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("begin", _SECONDS, nullable=False),
    sa.Column("end", _SECONDS, nullable=False),
)
_CHANGES: Final = sa.Table(
    "freshline_versions",
    metadata,
    sa.Column("event", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", _NAME, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("at", _SECONDS, nullable=False),
    sa.Column("data_time", _SECONDS),
    sa.Column("run_id", _RUN, nullable=False),
    sa.Column("ready", _SECONDS),
    sa.Column("requested", _SECONDS),
    sa.Column("launched", _SECONDS),
    sa.Column("started", _SECONDS),
)
_RUNS: Final = sa.Table(
    "freshline_runs",
    metadata,
    sa.Column("id", _RUN, primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("requested", _SECONDS),
    sa.Column("launched", _SECONDS),
    sa.Column("ended", _SECONDS, nullable=False, index=True),
)
_VERDICTS: Final = sa.Table(
    "freshline_verdicts",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("target", _NAME, nullable=False),
    sa.Column("at", _SECONDS, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("location", _NAME, nullable=False),
    sa.Column("asset", _NAME, nullable=False),
    sa.Column("phase", sa.String(16)),
)
_SILENCES: Final = sa.Table(
    "freshline_silences",
    metadata,
    sa.Column("event", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("location", _NAME, nullable=False),
    sa.Column("begin", _SECONDS, nullable=False),
    sa.Column("end", _SECONDS, nullable=False),
)


def keep(instance: DagsterInstance, graph: Graph, now: float) -> Period | None:
    """Write down what has happened up to a minute ago and is not kept yet.

    Return the time that was added; None: nothing has happened since the last call. `graph` is what
    the contracts say now. Raises `InstanceError`.
    """
    reader, kept = BulkReader(instance), Kept(instance)
    kept.make_tables()
    first = reader.first()
    end = now - _UNSETTLED
    last = reader.position_at(end)
    if first is None or last < first[0]:
        return None
    before = kept.periods()
    after, begin = (before[-1].event, before[-1].end) if before else (first[0] - 1, first[1])
    if last <= after:
        return None
    if first[0] > after + 1:  # older events were deleted before they were kept
        begin = max(begin, first[1])
    period = Period(begin, end, last)
    kept.add(replay(instance, graph, period, after))
    return period


def read_past(instance: DagsterInstance, graph: Graph, begin: float, now: float) -> Past:
    """Return what is known of the time from `begin` to `now`: what is kept, then the log.

    Raises `InstanceError`.
    """
    reader, kept = BulkReader(instance), Kept(instance)
    older = kept.read(begin) if kept.exists() else Past(())
    first = reader.first()
    after = older.periods[-1].event if older.periods else reader.position_at(begin)
    since = older.periods[-1].end if older.periods else begin
    if first is None:
        return older
    if first[0] > after:  # what was before the log begins is not known
        since = max(since, first[1])
    newer = replay(instance, graph, Period(since, now, reader.last()), after)
    return _joined(older, newer)


class Kept:
    """The tables, in the database in which `instance` keeps its event log."""

    def __init__(self, instance: DagsterInstance) -> None:
        storage = instance.event_log_storage
        if not isinstance(storage, SqlEventLogStorage):
            raise InstanceError(f"{type(storage).__name__} has no room for the compact history.")
        self._storage = storage

    def exists(self) -> bool:
        """Return whether the tables are there."""
        return self._storage.has_table(_PERIODS.name)

    def make_tables(self) -> None:
        """Make the tables that are missing."""
        with self._writing() as connection:
            metadata.create_all(connection)

    def periods(self) -> list[Period]:
        """Return the periods that are kept, the oldest first."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_PERIODS).order_by(_PERIODS.c.event)).mappings()
            return [Period(row["begin"], row["end"], row["event"]) for row in rows]

    def add(self, past: Past) -> None:
        """Write `past`, once: rows that are there already stay as they are."""
        silences = [silence for silence in past.silences if silence.end is not None]
        with self._writing() as connection:
            _insert(connection, _CHANGES, past.changes)
            _insert(connection, _RUNS, past.runs)
            _insert(connection, _VERDICTS, past.verdicts)
            _insert(connection, _SILENCES, silences)
            _insert(connection, _PERIODS, past.periods)

    def read(self, begin: float) -> Past:
        """Return what is kept of the time since `begin`, and how things stood then."""
        periods = [period for period in self.periods() if period.end > begin]
        if not periods:
            return Past(())
        with self._reading() as connection:
            changes = [
                *_rows(connection, _last_before(begin)),
                *_rows(connection, sa.select(_CHANGES).where(_CHANGES.c.at >= begin)),
            ]
            runs = _rows(connection, sa.select(_RUNS).where(_RUNS.c.ended >= begin))
            verdicts = [
                *_rows(connection, _last_verdicts_before(begin)),
                *_rows(connection, sa.select(_VERDICTS).where(_VERDICTS.c.at >= begin)),
            ]
            silences = _rows(connection, sa.select(_SILENCES).where(_SILENCES.c.end >= begin))
        return Past(
            periods=tuple(periods),
            changes=tuple(sorted(map(_change, changes), key=lambda change: change.event)),
            runs=tuple(PastRun(**row) for row in runs),
            verdicts=tuple(sorted(map(_verdict, verdicts), key=lambda it: (it.at, it.id))),
            silences=tuple(Silence(**row) for row in silences),
        )

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _telling(), self._storage.index_connection() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with _telling(), self._storage.index_transaction() as connection:
            yield connection


@contextmanager
def _telling() -> Iterator[None]:
    """Say in one line what the database refuses."""
    try:
        yield
    except SQLAlchemyError as error:
        raise InstanceError(
            "the compact history (tables freshline_...) cannot be read or written: "
            f"{first_line(error)} Run `keep` and `report` with the rights of the host, which owns "
            "Dagster's tables."
        ) from error


def _insert(connection: sa.Connection, table: sa.Table, records: Iterable[Any]) -> None:
    """Write `records` into `table`, without those that are there."""
    rows = [_row(record) for record in records]
    statement: Any
    if connection.dialect.name == "mysql":
        statement = table.insert().prefix_with("IGNORE")
    elif connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = sqlite.insert(table).on_conflict_do_nothing()
    for begin in range(0, len(rows), _AT_ONCE):
        connection.execute(statement, rows[begin : begin + _AT_ONCE])


def _row(record: Any) -> dict[str, Any]:
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in asdict(record).items()
    }


def _last_before(begin: float) -> Any:
    """Select the newest change of each asset before the time `begin`."""
    newest = (
        sa.select(_CHANGES.c.key, sa.func.max(_CHANGES.c.event).label("event"))
        .where(_CHANGES.c.at < begin)
        .group_by(_CHANGES.c.key)
        .subquery()
    )
    return sa.select(_CHANGES).join(
        newest, sa.and_(newest.c.key == _CHANGES.c.key, newest.c.event == _CHANGES.c.event)
    )


def _last_verdicts_before(begin: float) -> Any:
    """Select the newest verdict on each target before the time `begin`."""
    newest = (
        sa.select(sa.func.max(_VERDICTS.c.id).label("id"))
        .where(_VERDICTS.c.at < begin)
        .group_by(_VERDICTS.c.target)
        .subquery()
    )
    return sa.select(_VERDICTS).join(newest, newest.c.id == _VERDICTS.c.id)


def _rows(connection: sa.Connection, wanted: Any) -> Sequence[sa.RowMapping]:
    return connection.execute(wanted).mappings().all()


def _change(row: sa.RowMapping) -> Change:
    return Change(**{**row, "kind": ChangeKind(row["kind"])})


def _verdict(row: sa.RowMapping) -> Verdict:
    phase = row["phase"]
    return Verdict(
        **{
            **row,
            "status": TargetStatus(row["status"]),
            "phase": Phase(phase) if phase else None,
        }
    )


def _joined(older: Past, newer: Past) -> Past:
    """Return both as one. What was kept counts where both know something."""
    stood: set[str] = set()
    if older.periods and older.periods[-1].end == newer.periods[0].begin:
        # How a target stood at the seam is known from what was kept, and the versions that it
        # follows from may have been deleted.
        stood = {change.key for change in older.changes}
    verdicts = {it.id: it for it in (*newer.verdicts, *older.verdicts)}
    runs = {it.id: it for it in (*older.runs, *newer.runs)}
    silences = {it.event: it for it in (*newer.silences, *older.silences)}
    return Past(
        periods=(*older.periods, *newer.periods),
        changes=(
            *older.changes,
            *(
                it
                for it in newer.changes
                if it.kind is not ChangeKind.STANDS or it.key not in stood
            ),
        ),
        runs=tuple(runs.values()),
        verdicts=tuple(sorted(verdicts.values(), key=lambda it: (it.at, it.id))),
        silences=tuple(sorted(silences.values(), key=lambda it: it.begin)),
        not_followed=newer.not_followed,
    )
