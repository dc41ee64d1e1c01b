"""What is in a landed table, and which rows Airbyte has written into it since it was looked at.

An incremental sync reads the rows again whose cursor is that of the newest row: there may be more
of them by now. So rows come even when the source has nothing new, and only a look at these rows
tells. All other rows of the table are those that no sync has touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql

__all__ = ["Content", "read_content"]

EXTRACTED: Final = "_airbyte_extracted_at"
"""When Airbyte read a row. A typed destination writes it into each, also when it replaces one."""
OURS: Final = "_airbyte_"
"""How the columns begin that Airbyte adds."""


@dataclass(frozen=True)
class Content:
    """The content of a table at one moment."""

    rows: int
    mark: str | None = None
    """The same text as before if columns, number of rows, and the rows with the newest cursor are.
    None: there is no table, or Airbyte does not write when it read a row."""
    extracted_until: datetime | None = None
    """When Airbyte read the row that it read last. None: there is no row."""
    written: int = 0
    """How many rows Airbyte has read since the time that was asked for."""
    written_elsewhere: int = 0
    """How many of them do not have the newest cursor: `mark` does not tell whether they differ."""


def read_content(
    conninfo: Mapping[str, Any],
    schema: str,
    table: str,
    *,
    cursor: str | None = None,
    since: datetime | None = None,
) -> Content:
    """Return what is in a table; no rows if it is not there yet.

    `cursor` is the column by which its stream is read incrementally. Without `since`, all rows
    count as written.
    """
    with closing(psycopg.connect(**conninfo)) as connection:
        columns = _columns(connection, schema, table)
        if not columns:
            return Content(0)
        name = sql.Identifier(schema, table)
        if EXTRACTED not in columns:
            counted = connection.execute(sql.SQL("select count(*) from {}").format(name)).fetchone()
            return Content(counted[0] if counted else 0)
        theirs = [column for column in columns if not column.startswith(OURS)]
        query = sql.SQL(
            "with newest as (select count(*) as rows, max({extracted}) as extracted,"
            " max({cursor}) as cursor, count(*) filter (where {is_written}) as written from {table}"
            "), at_end as (select count(*) filter (where {is_written}) as written,"
            " md5(string_agg(md5({row}), '' order by md5({row}))) as digest"
            " from {table} where {cursor} = (select cursor from newest))"
            " select newest.rows, newest.extracted, newest.written,"
            " newest.written - at_end.written, at_end.digest from newest, at_end"
        ).format(
            table=name,
            extracted=sql.Identifier(EXTRACTED),
            cursor=sql.Identifier(cursor) if cursor in columns else sql.SQL("null::text"),
            is_written=(
                sql.SQL("true")
                if since is None
                else sql.SQL("{} > {}").format(sql.Identifier(EXTRACTED), sql.Literal(since))
            ),
            row=sql.SQL("row({})::text").format(sql.SQL(", ").join(map(sql.Identifier, theirs))),
        )
        found = connection.execute(query).fetchone()
    rows, extracted, written, elsewhere, digest = found or (0, None, 0, 0, None)
    text = repr((list(columns.items()), rows, digest))
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Content(rows, mark, extracted, written, elsewhere)


def _columns(connection: psycopg.Connection, schema: str, table: str) -> dict[str, str]:
    """Return the types of the columns by name, in order; none if there is no such table."""
    found = connection.execute(
        "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a "
        "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped "
        "order by a.attnum",
        [schema, table],
    )
    return dict(found.fetchall())
