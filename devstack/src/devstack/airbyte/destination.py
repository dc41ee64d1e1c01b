"""Writes rows into Postgres: staged with COPY, merged, and committed together with the state.

The state is in the destination's own database, in the schema `airbyte_internal`, so that one
transaction can write it together with the rows that it stands for. A row of the table `lease` names
the job that may write for a connection. Every transaction checks it under a lock. So a worker that
has outlived a crash of the server commits nothing after the next worker has begun.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from typing import Any

import psycopg

from devstack.airbyte.columns import cells
from devstack.airbyte.tables import StreamTable

# With this many rows in memory, or bytes of rows, they are sent to the database.
_BATCH_ROWS = 2_000
_BATCH_BYTES = 4_000_000

_SCHEMA = """
create schema if not exists airbyte_internal;
create table if not exists airbyte_internal.lease (
    connection_id uuid primary key,
    job_id bigint not null
);
create table if not exists airbyte_internal.state (
    connection_id uuid not null,
    stream text not null,
    state text not null,
    job_id bigint not null,
    updated_at timestamptz not null default now(),
    primary key (connection_id, stream)
);
comment on table airbyte_internal.state is
    'How far each stream was read; written in the transaction that writes its rows';
"""
# Two first syncs at once would collide in "create if not exists": this lock lets one go first.
# Its number has no meaning.
_SCHEMA_LOCK = 2_086_013_541


class SupersededError(Exception):
    """Another job has taken over the connection, so this one may not write any more."""


class Destination:
    """The database to which one sync writes. Not thread-safe.

    Raises psycopg's errors when the database fails; rows that were not committed are lost then.
    """

    def __init__(self, configuration: Mapping[str, Any], connection_id: str, job_id: int) -> None:
        self._connection_id = connection_id
        self._job_id = job_id
        self._tables: dict[str, StreamTable] = {}
        self._batches: dict[str, list[list[str | None]]] = {}
        self._batch_bytes = 0
        self._uncommitted: dict[str, list[int]] = {}
        self.rows = 0
        self.bytes = 0
        self._db = psycopg.connect(
            host=configuration["host"],
            port=configuration["port"],
            user=configuration["username"],
            password=configuration.get("password"),
            dbname=configuration["database"],
            sslmode=(configuration.get("ssl_mode") or {}).get("mode", "prefer"),
            application_name=f"airbyte sync {job_id}",
            connect_timeout=10,
            autocommit=True,
        )

    def close(self) -> None:
        self._db.close()

    def prepare(self, streams: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Take the lease, make the tables, and return the STATE messages for the connector.

        They say where each incremental stream goes on. A stream whose table is gone has none and is
        read from its beginning: with a state it would miss the rows that are gone.
        """
        with self._db.transaction(), self._db.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            cursor.execute(_SCHEMA)
            cursor.execute(
                "insert into airbyte_internal.lease values (%s, %s) on conflict (connection_id)"
                " do update set job_id = excluded.job_id",
                (self._connection_id, self._job_id),
            )
            forgotten = []
            for number, order in enumerate(streams):
                table, is_new = StreamTable.of(order, number).prepare(cursor)
                self._tables[table.stream] = table
                if is_new or table.whole:
                    forgotten.append(table.stream)
            if forgotten:
                # A state that all streams share cannot forget one of them, so it is deleted.
                cursor.execute(
                    "delete from airbyte_internal.state where connection_id = %s"
                    " and (stream = any(%s) or stream = '')",
                    (self._connection_id, forgotten),
                )
            cursor.execute(
                "select state from airbyte_internal.state where connection_id = %s"
                " and (stream = any(%s) or stream = '')",
                (self._connection_id, list(self._tables)),
            )
            return [json.loads(text) for (text,) in cursor.fetchall()]

    def add(self, record: Mapping[str, Any], size: int) -> None:
        """Add the content of one RECORD, a message of `size` bytes."""
        table = self._tables.get(record.get("stream", ""))
        if table is None:
            return
        row, changes = cells(table.columns, record.get("data") or {})
        meta = {"sync_id": self._job_id, "changes": changes}
        batch = self._batches.setdefault(table.stream, [])
        batch.append(
            [
                str(uuid.uuid4()),
                _extracted_at(record),
                json.dumps(meta),
                str(self._job_id if table.overwrite else 0),
                *row,
            ]
        )
        counts = self._uncommitted.setdefault(table.stream, [0, 0])
        counts[0] += 1
        counts[1] += size
        self._batch_bytes += size
        if len(batch) >= _BATCH_ROWS or self._batch_bytes >= _BATCH_BYTES:
            self._stage()

    @property
    def resumable(self) -> set[str]:
        """The streams whose rows may be committed before they have been read to the end."""
        return {name for name, table in self._tables.items() if not table.whole}

    @property
    def streams(self) -> set[str]:
        """All streams of this sync."""
        return set(self._tables)

    def commit(self, states: Mapping[str, Mapping[str, Any]], *, streams: set[str]) -> None:
        """Write the rows of these streams, and the states that stand for them, in one transaction.

        Raises `SupersededError`, and writes nothing, when another job has taken over.
        """
        self._stage()
        with self._db.transaction(), self._db.cursor() as cursor:
            cursor.execute(
                "select job_id from airbyte_internal.lease where connection_id = %s for update",
                (self._connection_id,),
            )
            if cursor.fetchone() != (self._job_id,):
                raise SupersededError
            for name in sorted(streams):
                self._tables[name].merge(cursor)
            for name, state in states.items():
                cursor.execute(
                    "insert into airbyte_internal.state (connection_id, stream, state, job_id)"
                    " values (%s, %s, %s, %s) on conflict (connection_id, stream) do update"
                    " set state = excluded.state, job_id = excluded.job_id, updated_at = now()",
                    (self._connection_id, name, json.dumps(state), self._job_id),
                )
        for name in streams:
            rows, size = self._uncommitted.pop(name, [0, 0])
            self.rows += rows
            self.bytes += size

    def _stage(self) -> None:
        """Send what is held in memory to the staging tables."""
        for name, batch in self._batches.items():
            if not batch:
                continue
            statement = self._tables[name].copy_statement()
            with self._db.cursor() as cursor, cursor.copy(statement) as copy:
                for row in batch:
                    copy.write_row(row)
            batch.clear()
        self._batch_bytes = 0


def _extracted_at(record: Mapping[str, Any]) -> str:
    seconds = float(record.get("emitted_at") or 0) / 1000
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
