# ruff: noqa: S608, A002 - only column lists of this file go into the SQL by format; ids are ids
"""The server's records, in a schema of its own in Postgres.

Each source or destination (an "actor"), each connection and each job is a row. Configurations hold
their secrets, because connectors need them. The database asks for a password, and the server shows
configurations only as `configuration.masked` returns them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import psycopg_pool
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

_SCHEMA = """
create schema if not exists airbyte;
revoke all on schema airbyte from public;
create table if not exists airbyte.workspace (
    id uuid primary key,
    name text not null,
    position bigint generated always as identity
);
create table if not exists airbyte.actor (
    id uuid primary key,
    kind text not null check (kind in ('source', 'destination')),
    workspace_id uuid not null references airbyte.workspace,
    type text not null,
    name text not null,
    configuration jsonb not null,
    created_at timestamptz not null default now(),
    position bigint generated always as identity
);
create table if not exists airbyte.connection (
    id uuid primary key,
    workspace_id uuid not null references airbyte.workspace,
    source_id uuid not null references airbyte.actor on delete cascade,
    destination_id uuid not null references airbyte.actor on delete cascade,
    settings jsonb not null,
    created_at timestamptz not null default now(),
    position bigint generated always as identity
);
create table if not exists airbyte.job (
    id bigint generated always as identity primary key,
    -- No reference: the history of a deleted connection stays.
    connection_id uuid not null,
    workspace_id uuid not null,
    type text not null,
    status text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    rows bigint not null default 0,
    bytes bigint not null default 0,
    failure jsonb
);
-- One sync at a time of a connection, whoever asks.
create unique index if not exists job_running on airbyte.job (connection_id)
    where status = 'running';
create index if not exists job_connection on airbyte.job (connection_id, id);
"""
# If two servers start at once, this lock lets one go first. Its number has no meaning.
_SCHEMA_LOCK = 4_027_119_983


@dataclass(frozen=True)
class Actor:
    """A source or a destination."""

    id: UUID
    kind: str
    workspace_id: UUID
    type: str
    name: str
    configuration: dict[str, Any] = field(repr=False)
    created_at: dt.datetime


@dataclass(frozen=True)
class StoredConnection:
    """A connection. `settings` has everything except the ids and the time of creation."""

    id: UUID
    workspace_id: UUID
    source_id: UUID
    destination_id: UUID
    settings: dict[str, Any]
    created_at: dt.datetime


@dataclass(frozen=True)
class StoredJob:
    """A job. `failure` is the reason if it has failed, else None."""

    id: int
    connection_id: UUID
    workspace_id: UUID
    type: str
    status: str
    created_at: dt.datetime
    updated_at: dt.datetime
    rows: int
    bytes: int
    failure: dict[str, Any] | None


@dataclass(frozen=True)
class StoredWorkspace:
    id: UUID
    name: str


_Row = TypeVar("_Row")
_ACTOR = "id, kind, workspace_id, type, name, configuration, created_at"
_CONNECTION = "id, workspace_id, source_id, destination_id, settings, created_at"
_JOB = "id, connection_id, workspace_id, type, status, created_at, updated_at, rows, bytes, failure"


class Store:
    """Reads and writes the records. Thread-safe; works again after the database was restarted."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._pool = psycopg_pool.ConnectionPool(
            database_url,
            min_size=1,
            max_size=8,
            # Seconds after which a request is answered with 503.
            timeout=5,
            kwargs={"autocommit": True, "application_name": "airbyte server"},
            check=psycopg_pool.ConnectionPool.check_connection,
            open=False,
        )

    def open(self) -> None:
        """Connect, make the schema and one workspace, fail jobs that a dead server left running.

        Raises `psycopg.Error` when the database cannot be reached.
        """
        # A plain connection says at once what is wrong; the pool would go on trying for a while.
        psycopg.connect(self._database_url, connect_timeout=10).close()
        self._pool.open(wait=True, timeout=15)
        with self._pool.connection() as db, db.transaction():
            db.execute("select pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            db.execute(_SCHEMA)
            db.execute(
                "insert into airbyte.workspace (id, name) select %s, 'Default Workspace'"
                " where not exists (select from airbyte.workspace)",
                (uuid4(),),
            )
        self.fail_running("The Airbyte server was stopped while this job was running.")

    def close(self) -> None:
        self._pool.close()

    def _all(self, kind: type[_Row], query: str, values: Sequence[Any] = ()) -> list[_Row]:
        with self._pool.connection() as db, db.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(query, values).fetchall()

    def _one(self, kind: type[_Row], query: str, values: Sequence[Any] = ()) -> _Row | None:
        return next(iter(self._all(kind, query, values)), None)

    def _do(self, query: str, values: Sequence[Any] = ()) -> int:
        """Run a statement and return the number of rows that it touched."""
        with self._pool.connection() as db:
            return db.execute(query, values).rowcount

    # Workspaces

    def workspaces(self) -> list[StoredWorkspace]:
        return self._all(
            StoredWorkspace, "select id, name from airbyte.workspace order by position"
        )

    # Sources and destinations

    def actors(
        self, kind: str, workspaces: list[UUID] | None, limit: int, offset: int
    ) -> list[Actor]:
        return self._all(
            Actor,
            f"select {_ACTOR} from airbyte.actor where kind = %s"
            " and (%s::uuid[] is null or workspace_id = any(%s)) order by position"
            " limit %s offset %s",
            (kind, workspaces, workspaces, limit, offset),
        )

    def actor(self, kind: str, id: UUID) -> Actor | None:
        return self._one(
            Actor, f"select {_ACTOR} from airbyte.actor where kind = %s and id = %s", (kind, id)
        )

    def add_actor(
        self, kind: str, workspace: UUID, type: str, name: str, configuration: dict[str, Any]
    ) -> Actor:
        (actor,) = self._all(
            Actor,
            "insert into airbyte.actor (id, kind, workspace_id, type, name, configuration)"
            f" values (%s, %s, %s, %s, %s, %s) returning {_ACTOR}",
            (uuid4(), kind, workspace, type, name, Jsonb(configuration)),
        )
        return actor

    def change_actor(self, id: UUID, name: str, configuration: dict[str, Any]) -> Actor | None:
        return self._one(
            Actor,
            "update airbyte.actor set name = %s, configuration = %s where id = %s"
            f" returning {_ACTOR}",
            (name, Jsonb(configuration), id),
        )

    def remove_actor(self, id: UUID) -> None:
        """Delete a source or destination and the connections that use it."""
        self._do("delete from airbyte.actor where id = %s", (id,))

    # Connections

    def connections(
        self, workspaces: list[UUID] | None, limit: int, offset: int
    ) -> list[StoredConnection]:
        return self._all(
            StoredConnection,
            f"select {_CONNECTION} from airbyte.connection"
            " where (%s::uuid[] is null or workspace_id = any(%s)) order by position"
            " limit %s offset %s",
            (workspaces, workspaces, limit, offset),
        )

    def connections_of_actor(self, id: UUID) -> list[StoredConnection]:
        return self._all(
            StoredConnection,
            f"select {_CONNECTION} from airbyte.connection"
            " where source_id = %s or destination_id = %s",
            (id, id),
        )

    def connection(self, id: UUID) -> StoredConnection | None:
        return self._one(
            StoredConnection, f"select {_CONNECTION} from airbyte.connection where id = %s", (id,)
        )

    def add_connection(
        self, workspace: UUID, source: UUID, destination: UUID, settings: dict[str, Any]
    ) -> StoredConnection | None:
        """Return the new connection; None if its source or destination has just been deleted."""
        try:
            return self._one(
                StoredConnection,
                "insert into airbyte.connection (id, workspace_id, source_id, destination_id,"
                f" settings) values (%s, %s, %s, %s, %s) returning {_CONNECTION}",
                (uuid4(), workspace, source, destination, Jsonb(settings)),
            )
        except psycopg.errors.ForeignKeyViolation:
            return None

    def change_connection(self, id: UUID, settings: dict[str, Any]) -> StoredConnection | None:
        return self._one(
            StoredConnection,
            f"update airbyte.connection set settings = %s where id = %s returning {_CONNECTION}",
            (Jsonb(settings), id),
        )

    def remove_connection(self, id: UUID) -> None:
        self._do("delete from airbyte.connection where id = %s", (id,))

    # Jobs

    def jobs(
        self, conditions: Sequence[tuple[str, Any]], order: str, limit: int, offset: int
    ) -> list[StoredJob]:
        """Return the jobs that meet all conditions.

        A condition is an SQL text with one `%s`, and the value for it. The texts and `order` go
        into the statement as they are.
        """
        where = " and ".join(text for text, _ in conditions) or "true"
        values = [value for _, value in conditions]
        return self._all(
            StoredJob,
            f"select {_JOB} from airbyte.job where {where} order by {order} limit %s offset %s",
            (*values, limit, offset),
        )

    def job(self, id: int) -> StoredJob | None:
        return self._one(StoredJob, f"select {_JOB} from airbyte.job where id = %s", (id,))

    def running_job(self, connection: UUID) -> StoredJob | None:
        return self._one(
            StoredJob,
            f"select {_JOB} from airbyte.job where connection_id = %s and status = 'running'",
            (connection,),
        )

    def add_job(self, connection: UUID, workspace: UUID, type: str) -> StoredJob | None:
        """Return a new running job; None if the connection has one already."""
        return self._one(
            StoredJob,
            "insert into airbyte.job (connection_id, workspace_id, type, status)"
            " values (%s, %s, %s, 'running') on conflict (connection_id) where status = 'running'"
            f" do nothing returning {_JOB}",
            (connection, workspace, type),
        )

    def note_progress(self, id: int, rows: int, size: int) -> None:
        self._do(
            "update airbyte.job set rows = %s, bytes = %s, updated_at = clock_timestamp()"
            " where id = %s and status = 'running'",
            (rows, size, id),
        )

    def end_job(self, id: int, status: str, failure: dict[str, Any] | None = None) -> bool:
        """Set the last status of a running job. Return false if the job has ended already."""
        return bool(
            self._do(
                "update airbyte.job set status = %s, failure = %s,"
                " updated_at = clock_timestamp() where id = %s and status = 'running'",
                (status, Jsonb(failure) if failure else None, id),
            )
        )

    def fail_running(self, message: str) -> None:
        """Fail every job that is marked as running."""
        self._do(
            "update airbyte.job set status = 'failed', failure = %s,"
            " updated_at = clock_timestamp() where status = 'running'",
            (Jsonb({"message": message, "origin": "airbyte_platform"}),),
        )
