"""The assets of a declared connection, all made by one sync, and its schedule."""

# No `from __future__ import annotations`: Dagster needs the type of `context` as a class, not text.
import inspect
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from freshline import nested_columns, stream_columns, stream_key, stream_spec

from ingestion.airbyte.declaration import Connection, Nested, Stream
from ingestion.airbyte.record import stream_schema
from ingestion.resources import Airbyte, Warehouse
from ingestion.tables import Content
from ingestion.versions import (
    OF_ALL,
    Before,
    made,
    metadata_of,
    metadata_of_view,
    version_before,
    why_rows_are_new,
)
from ingestion.views import NestedView

__all__ = ["connection_assets", "connection_schedule"]

DECLARATION = "ingestion/connections.py"


def connection_assets(connection: Connection) -> dg.AssetsDefinition:
    """Return the streams of a connection and the views over them as one computation."""
    specs = [spec for stream in connection.streams for spec in _specs(connection, stream)]

    @dg.multi_asset(
        specs=specs,
        name=connection.name,
        can_subset=False,
        # Airbyte refuses a second sync of a connection while one runs.
        pool=connection.name,
        description=f"A sync of the Airbyte connection {connection.name_in_airbyte}.",
    )
    def sync(
        context: dg.AssetExecutionContext, airbyte: Airbyte, warehouse: Warehouse
    ) -> Iterator[dg.MaterializeResult[Any]]:
        metadata = airbyte.sync(connection, context.log)
        of_all = {name: metadata.get(name) for name in OF_ALL}
        before = {key: version_before(context.instance, key) for key in context.selected_asset_keys}
        contents = {
            stream.name: _content(connection, stream, warehouse, before)
            for stream in connection.streams
        }
        for stream in connection.streams:
            content = contents[stream.name]
            if not content.rows:
                # source-github skips a list that the token may not read, and reports success.
                context.log.warning(
                    "The sync succeeded, but %s.%s is empty. Some connectors skip what they may "
                    "not read or cannot find: see the job's log in Airbyte, and the configuration "
                    "of the source %r in ingestion/connections.py.",
                    *(connection.namespace, connection.prefix + stream.name),
                    connection.source.name,
                )
            why_new = why_rows_are_new(connection, metadata, contents, stream)
            # The stream comes first: its views must refer to this materialization of it.
            key = key_of(connection, stream.name)
            stated = {**metadata, **of_all, **metadata_of(content)}
            yield made(context, key, stated, before[key], why_new)
            for nested in stream.nested:
                view = view_of(connection, stream, nested)
                key = key_of(connection, nested.name)
                stated = {**of_all, **metadata_of_view(content, view, warehouse.ensure_view(view))}
                yield made(context, key, stated, before[key], why_new)

    return sync


def connection_schedule(
    connection: Connection, assets: dg.AssetsDefinition
) -> dg.ScheduleDefinition | None:
    """Return the schedule that syncs a connection; None if its declaration asks for none."""
    minutes = connection.sync_every_minutes
    if minutes is None:
        return None
    return dg.ScheduleDefinition(
        name=f"{connection.name}_every_{minutes}_minutes",
        target=dg.AssetSelection.assets(assets),
        cron_schedule="0 * * * *" if minutes == 60 else f"*/{minutes} * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def key_of(connection: Connection, table: str) -> dg.AssetKey:
    """Return the asset key of a stream or view of the connection."""
    return stream_key(
        connection.namespace,
        table,
        prefix=connection.prefix,
        where=f"connection {connection.name} in {DECLARATION}",
    )


def view_of(connection: Connection, stream: Stream, nested: Nested) -> NestedView:
    """Return the view in the warehouse that shows a nested relation."""
    return NestedView(
        schema=connection.namespace,
        name=connection.prefix + nested.name,
        table=connection.prefix + stream.name,
        column=nested.column,
        columns=nested_columns(_schema(connection, stream), nested.column, nested.keep),
        kept=len(nested.keep),
    )


def _content(
    connection: Connection,
    stream: Stream,
    warehouse: Warehouse,
    before: Mapping[dg.AssetKey, Before | None],
) -> Content:
    """Return what the table of a stream has after a sync, and what the sync has written."""
    version = before[key_of(connection, stream.name)]
    return warehouse.content(
        connection.namespace,
        connection.prefix + stream.name,
        cursor=stream.cursor,
        since=version.extracted_until if version else None,
    )


def _specs(connection: Connection, stream: Stream) -> Iterator[dg.AssetSpec]:
    schema = _schema(connection, stream)
    key = key_of(connection, stream.name)
    shared: Mapping[str, Any] = {
        "connection": connection.name_in_airbyte,
        "destination": connection.destination.type,
        "group": connection.group,
        "owners": connection.owners,
        "metadata": _code_references(),
    }
    yield stream_spec(
        key,
        columns=stream_columns(schema, stream.fields),
        description=stream.description,
        **shared,
    )
    for nested in stream.nested:
        yield stream_spec(
            key_of(connection, nested.name),
            columns=nested_columns(schema, nested.column, nested.keep),
            deps=[key],
            description=nested.description,
            view=True,
            **shared,
        )


def _schema(connection: Connection, stream: Stream) -> Mapping[str, Any]:
    return stream_schema(connection.source.connector, stream.name)


def _code_references() -> dict[str, Any]:
    """Return the metadata that links an asset to its declaration, not to this file."""
    from ingestion import connections

    file = Path(inspect.getfile(connections))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references are marked beta
        reference = dg.LocalFileCodeReference(file_path=str(file), label=DECLARATION)
        value = dg.CodeReferencesMetadataValue(code_references=[reference])
    return {"dagster/code_references": value}
