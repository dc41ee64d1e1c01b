"""The SQL that makes a stream's table, adds columns to it, and fills it from its staging table.

A table is never dropped, renamed or truncated. So views of it keep working, and readers see either
the rows before a commit or the rows after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from devstack.airbyte.columns import Column, column_name, columns_of, converter_of

_META = {
    "_airbyte_raw_id": "text not null",
    "_airbyte_extracted_at": "timestamptz not null",
    "_airbyte_meta": "jsonb not null",
    "_airbyte_generation_id": "bigint not null",
}
_KEY_PREFIX = "_airbyte_pk_"


@dataclass(frozen=True)
class StreamTable:
    """The table of one stream, and how its rows get there.

    A `whole` stream is read from its beginning in every sync, and never shown in part.
    """

    stream: str
    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    cursor: str | None
    whole: bool
    overwrite: bool
    dedup: bool
    staging: str

    @classmethod
    def of(cls, order: dict[str, Any], number: int) -> StreamTable:
        """Return the table of one stream of a sync's order. `number` names its staging table."""
        columns = tuple(columns_of(order["stream"]["json_schema"], order.get("selected_fields")))
        by_field = {column.field: column.name for column in columns}
        mode = order["destination_sync_mode"]
        cursor = order.get("cursor_field") or []
        return cls(
            stream=order["stream"]["name"],
            schema=column_name(order["schema"]),
            name=column_name(order["table"]),
            columns=columns,
            key=tuple(by_field[path[0]] for path in order.get("primary_key") or []),
            cursor=by_field.get(cursor[0]) if len(cursor) == 1 else None,
            whole=order["sync_mode"] != "incremental",
            overwrite=mode in ("overwrite", "overwrite_dedup"),
            dedup=mode in ("append_dedup", "overwrite_dedup"),
            staging=f"airbyte_staging_{number}",
        )

    @property
    def target(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def prepare(self, cursor: psycopg.Cursor[Any]) -> tuple[StreamTable, bool]:
        """Make the table or add the columns that it lacks.

        Returns this table with the types that its columns really have, and whether it is new.
        """
        existing = self._existing_columns(cursor)
        is_new = not existing
        if is_new:
            cursor.execute(
                sql.SQL("create schema if not exists {}").format(sql.Identifier(self.schema))
            )
            cursor.execute(
                sql.SQL("create table {} ({})").format(self.target, _declarations(_META))
            )
        wanted = {**_META, **{column.name: column.type for column in self.columns}}
        for name, kind in wanted.items():
            if name not in existing and not (is_new and name in _META):
                cursor.execute(
                    sql.SQL("alter table {} add column {}").format(
                        self.target, _declarations({name: kind})
                    )
                )
        columns = tuple(_with_stored_type(one, existing) for one in self.columns)
        table = replace(self, columns=columns)
        if self.dedup:
            table.make_unique(cursor)
        table.make_staging(cursor)
        return table, is_new

    def copy_statement(self) -> sql.Composed:
        """Return the COPY into the staging table: Airbyte's own columns, then the stream's."""
        return sql.SQL("copy pg_temp.{} ({}) from stdin").format(
            sql.Identifier(self.staging), _names(self._all_names())
        )

    def merge(self, cursor: psycopg.Cursor[Any]) -> None:
        """Move all staged rows into the table as the stream's mode says. The caller commits."""
        if self.overwrite:
            cursor.execute(sql.SQL("delete from {}").format(self.target))
        cursor.execute(self._insert())
        cursor.execute(sql.SQL("truncate pg_temp.{}").format(sql.Identifier(self.staging)))

    def _insert(self) -> sql.Composed:
        staging = sql.Identifier(self.staging)
        names = _names(self._all_names())
        if not self.dedup:
            return sql.SQL("insert into {} ({}) select {} from pg_temp.{} order by _row").format(
                self.target, names, names, staging
            )
        # If several staged rows have one key, the row with the highest cursor counts; among equal
        # cursors, the row that was read last. It replaces a stored row whose cursor is not higher.
        by_cursor = (
            sql.SQL("{} desc nulls last, ").format(sql.Identifier(self.cursor))
            if self.cursor
            else sql.SQL("")
        )
        not_older = (
            sql.SQL(" where t.{0} is null or excluded.{0} >= t.{0}").format(
                sql.Identifier(self.cursor)
            )
            if self.cursor
            else sql.SQL("")
        )
        return sql.SQL(
            "insert into {target} as t ({names}) select distinct on ({key}) {names}"
            " from pg_temp.{staging} order by {key}, {by_cursor}_row desc"
            " on conflict ({key}) do update set {changes}{not_older}"
        ).format(
            target=self.target,
            names=names,
            key=_names(self.key),
            staging=staging,
            by_cursor=by_cursor,
            changes=sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
                for name in self._all_names()
            ),
            not_older=not_older,
        )

    def _all_names(self) -> list[str]:
        return [*_META, *(column.name for column in self.columns)]

    def _existing_columns(self, cursor: psycopg.Cursor[Any]) -> dict[str, str]:
        cursor.execute(
            "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a"
            " join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped",
            (self.schema, self.name),
        )
        return dict(cursor.fetchall())

    def make_unique(self, cursor: psycopg.Cursor[Any]) -> None:
        """Make a unique index over the primary key; drop an index over an earlier key.

        If the table has several rows of one key, only the one with the highest cursor stays; among
        equal cursors, the newest.
        """
        text = repr((self.schema, self.name, self.key)).encode(errors="replace")
        wanted = _KEY_PREFIX + hashlib.sha256(text).hexdigest()[:16]
        cursor.execute(
            "select indexname from pg_indexes where schemaname = %s and tablename = %s"
            " and starts_with(indexname, %s)",
            (self.schema, self.name, _KEY_PREFIX),
        )
        present = [name for (name,) in cursor.fetchall()]
        for name in present:
            if name != wanted:
                cursor.execute(sql.SQL("drop index {}").format(sql.Identifier(self.schema, name)))
        if wanted in present:
            return
        order = sql.SQL("{} desc nulls last, ").format(sql.Identifier(self.cursor or self.key[0]))
        cursor.execute(
            sql.SQL(
                "delete from {target} where ctid in (select ctid from (select ctid, row_number()"
                " over (partition by {key} order by {order}_airbyte_extracted_at desc) as place"
                " from {target}) as ranked where place > 1)"
            ).format(target=self.target, key=_names(self.key), order=order)
        )
        cursor.execute(
            sql.SQL("create unique index {} on {} ({}) nulls not distinct").format(
                sql.Identifier(wanted), self.target, _names(self.key)
            )
        )

    def make_staging(self, cursor: psycopg.Cursor[Any]) -> None:
        cursor.execute(
            sql.SQL("create temporary table {} as select {} from {} with no data").format(
                sql.Identifier(self.staging), _names(self._all_names()), self.target
            )
        )
        cursor.execute(
            sql.SQL("alter table pg_temp.{} add column _row bigserial").format(
                sql.Identifier(self.staging)
            )
        )


def _with_stored_type(column: Column, existing: dict[str, str]) -> Column:
    """Return the column with its type in the table; the stream's type may have changed since."""
    convert = converter_of(existing.get(column.name, ""))
    return replace(column, convert=convert) if convert else column


def _names(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def _declarations(columns: dict[str, str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in columns.items()
    )
