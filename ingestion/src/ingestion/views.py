"""The views that show an object column of a landed table as a relation of its own.

Airbyte's destinations land an object as one JSON column. A view over that column is as fresh as
the table and needs no copy of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import dagster as dg
import psycopg
from psycopg import errors, sql

from ingestion.errors import ViewError

__all__ = ["NestedView", "ensure_view"]

_JSON = "jsonb"


@dataclass(frozen=True)
class NestedView:
    """A view in `schema` over the object column `column` of the table `table`."""

    schema: str
    name: str
    table: str
    column: str
    columns: Sequence[dg.TableColumn]
    kept: int
    """How many of `columns`, from the left, are columns of the table."""

    @property
    def mark(self) -> str:
        """A text that differs for each query."""
        return _digest(self.select(empty=False).as_string())[:16]

    def select(self, *, empty: bool) -> sql.Composed:
        """Return the view's query. If `empty`, it has no rows and reads no table."""
        items = []
        for position, column in enumerate(self.columns):
            if empty:
                value: sql.Composable = sql.SQL("null")
            elif position < self.kept:
                value = sql.Identifier(column.name)
            elif column.type == _JSON:
                value = sql.SQL("{}->{}").format(
                    sql.Identifier(self.column), sql.Literal(column.name)
                )
            else:
                value = sql.SQL("{}->>{}").format(
                    sql.Identifier(self.column), sql.Literal(column.name)
                )
            items.append(
                sql.SQL("({})::{} as {}").format(
                    value, sql.SQL(column.type), sql.Identifier(column.name)
                )
            )
        rows = (
            sql.SQL("where false")
            if empty
            else sql.SQL("from {}").format(sql.Identifier(self.schema, self.table))
        )
        return sql.SQL("select {} {}").format(sql.SQL(", ").join(items), rows)


def ensure_view(conninfo: Mapping[str, Any], view: NestedView) -> int:
    """Make the view as declared, and return the number of its rows.

    A view that is already as declared is not replaced, because a replacement waits for the view's
    readers and blocks new ones meanwhile. Raise `ViewError` if other relations forbid the change.
    """
    name = sql.Identifier(view.schema, view.name)
    with closing(psycopg.connect(**conninfo)) as connection, connection.transaction():
        _lock(connection, view)
        query = view.select(empty=not _exists(connection, view.schema, view.table))
        digest = "freshline:" + _digest(query.as_string(connection))
        if _comment(connection, view) != digest:
            connection.execute(
                sql.SQL("create schema if not exists {}").format(sql.Identifier(view.schema))
            )
            try:
                with connection.transaction():
                    connection.execute(
                        sql.SQL("create or replace view {} as {}").format(name, query)
                    )
            except errors.InvalidTableDefinition:  # a column is renamed, retyped or removed
                _recreate(connection, view, query)
            connection.execute(
                sql.SQL("comment on view {} is {}").format(name, sql.Literal(digest))
            )
        return _count(connection, name)


def _digest(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()


def _recreate(connection: psycopg.Connection, view: NestedView, query: sql.Composed) -> None:
    name = sql.Identifier(view.schema, view.name)
    try:
        connection.execute(sql.SQL("drop view {}").format(name))
    except errors.DependentObjectsStillExist as error:
        raise ViewError(
            f"the columns of {view.schema}.{view.name} changed, and other relations are built on "
            f"it: drop or rebuild them first ({error.diag.message_detail})"
        ) from None
    connection.execute(sql.SQL("create view {} as {}").format(name, query))


def _lock(connection: psycopg.Connection, view: NestedView) -> None:
    """Wait until no other transaction makes this view; lock it until this transaction ends."""
    connection.execute(
        "select pg_advisory_xact_lock(hashtext(%s))", [f"view {view.schema}.{view.name}"]
    )


def _exists(connection: psycopg.Connection, schema: str, table: str) -> bool:
    found = connection.execute(
        "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f')",
        [schema, table],
    ).fetchone()
    return found is not None


def _comment(connection: psycopg.Connection, view: NestedView) -> str | None:
    found = connection.execute(
        "select obj_description(c.oid, 'pg_class') from pg_class c "
        "join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relname = %s and c.relkind = 'v'",
        [view.schema, view.name],
    ).fetchone()
    return found[0] if found else None


def _count(connection: psycopg.Connection, name: sql.Identifier) -> int:
    found = connection.execute(sql.SQL("select count(*) from {}").format(name)).fetchone()
    return int(found[0]) if found else 0
