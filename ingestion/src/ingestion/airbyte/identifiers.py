"""The names that a Postgres destination has to keep whole.

Postgres keeps the first 63 bytes of a name. So that two names do not become one, the destination
shortens a longer name itself and adds a digest: the rows then land in a table that no asset names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ingestion.airbyte.record import recorded_stream
from ingestion.errors import DeclarationError

if TYPE_CHECKING:
    from ingestion.airbyte.declaration import Connection, Stream

__all__ = ["refuse_long_names", "shared_raw_tables"]

LIMIT: Final = 63
"""Bytes. Letters outside ASCII have two or more."""


def refuse_long_names(connection: Connection) -> None:
    """Raise `DeclarationError` for a name that the destination's Postgres would cut.

    Other destinations have limits of their own, which are not known here.
    """
    if connection.destination.type != "postgres":
        return
    for what, name, remedy in _names(connection):
        size = len(name.encode(errors="replace"))
        if size > LIMIT:
            raise DeclarationError(
                f"connection {connection.name!r} in connections.py: {what} {name!r} has {size} "
                f"bytes, and Postgres keeps {LIMIT} of a name: {remedy}"
            )


def _names(connection: Connection) -> Iterator[tuple[str, str, str]]:
    """Yield what each name is for, the name, and how to shorten it."""
    yield "the namespace", connection.namespace, "shorten `namespace`"
    for stream in connection.streams:
        what = f"the table of stream {stream.name!r},"
        shorter = "shorten `prefix`" if connection.prefix else "take the stream out"
        yield what, connection.prefix + stream.name, shorter
        schema = (recorded_stream(connection.source.connector, stream.name) or {}).get(
            "json_schema", {}
        )
        properties = schema.get("properties") or {}
        for field in stream.fields or properties:
            yield (
                f"a column of stream {stream.name!r},",
                field,
                "list the fields to sync in `fields`, without it",
            )
        yield from _names_of_views(connection, stream, properties)


def _names_of_views(
    connection: Connection, stream: Stream, properties: dict[str, dict[str, object]]
) -> Iterator[tuple[str, str, str]]:
    for nested in stream.nested:
        what = f"the view {nested.name!r} over stream {stream.name!r},"
        shorter = "shorten its `name`" + (" or `prefix`" if connection.prefix else "")
        yield what, connection.prefix + nested.name, shorter
        columns = properties.get(nested.column, {}).get("properties")
        for column in columns if isinstance(columns, dict) else ():
            yield f"a column of {what}", column, "take the view out of `nested`"


def shared_raw_tables(connections: Iterable[Connection]) -> dict[tuple[str, str], str]:
    """Return the streams whose raw table another stream has too, once their names are cut.

    The key is the names of the connection and the stream; the value is the other stream. Versions
    of the Postgres destination before 3 land rows in raw tables, and cut their names without a
    digest.
    """
    tables: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for connection in connections:
        if connection.destination.type == "postgres":
            for stream in connection.streams:
                raw = _raw_table(connection.namespace, connection.prefix + stream.name)
                place = (connection.destination.name, raw[:LIMIT])
                tables[place].append((connection.name, stream.name))
    return {
        one: next(f"{other[0]}.{other[1]}" for other in streams if other != one)
        for streams in tables.values()
        if len(streams) > 1
        for one in streams
    }


def _raw_table(namespace: str, name: str) -> str:
    """Return the name of a raw table. Its longest run of underscores stands in the middle."""
    longest = max(map(len, re.findall("_+", namespace + name)), default=1)
    return f"{namespace}_raw{'_' * (longest + 1)}stream_{name}".lower()
