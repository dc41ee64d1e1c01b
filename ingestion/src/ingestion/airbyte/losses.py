"""What a table does not have, or has too often, because of how its stream is synced.

A sync that does so succeeds. `ingestion check` says it, in one line for each stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ingestion.airbyte.declaration import Connection, Stream
from ingestion.airbyte.keys import doubt_about_key
from ingestion.airbyte.record import recorded_stream

__all__ = ["notes_of"]

_CDC: Final = "_ab_cdc_"
"""Connectors that read a database's log, which has every change, name their fields so."""


def notes_of(
    connection: Connection,
    configuration: Mapping[str, Any],
    shared: Mapping[tuple[str, str], str],
) -> Iterator[str]:
    """Yield a line for each stream whose table differs from what the source has.

    `configuration` is the source's, looked up in the environment; `shared` are the streams that
    share a raw table, as `shared_raw_tables` returns them.
    """
    for stream in connection.streams:
        faults = list(_of_mode(connection, stream))
        if doubt := doubt_about_key(connection, stream, configuration):
            faults.append(doubt)
        if other := shared.get((connection.name, stream.name)):
            faults.append(f"a Postgres destination before version 3 mixes its rows with {other}'s")
        if faults:
            yield f"stream {stream.name} ({stream.sync_mode}): {'; '.join(faults)}"


def _of_mode(connection: Connection, stream: Stream) -> Iterator[str]:
    match stream.sync_mode:
        case "full_refresh_append":
            yield (
                "every sync adds all rows again, and rows that the source removes stay: "
                "full_refresh_overwrite has each row once"
            )
        case "incremental_append" | "incremental_deduped_history":
            yield from _of_incremental(connection, stream)


def _of_incremental(connection: Connection, stream: Stream) -> Iterator[str]:
    recorded = recorded_stream(connection.source.connector, stream.name) or {}
    cursor = stream.cursor or ".".join(recorded.get("default_cursor_field") or ())
    fields = recorded.get("json_schema", {}).get("properties") or {}
    if stream.sync_mode == "incremental_append":
        yield "a row is added again each time that it is read or changes"
    if cursor.startswith(_CDC) or f"{_CDC}deleted_at" in fields:
        return
    late = f", and a row that comes late, below the newest `{cursor}`, is missed" if cursor else ""
    yield (
        f"a row that the source removes stays{late}: full_refresh_overwrite reads all rows each "
        "time, or clear the stream in Airbyte now and then"
    )
