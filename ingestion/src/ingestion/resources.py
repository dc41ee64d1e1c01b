"""Airbyte and the warehouse, as a run uses them.

The environment says where they are. It is read when a run uses them, not when the location loads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import dagster as dg
from freshline import data_time_metadata

from ingestion import tables, versions, views
from ingestion.airbyte.declaration import Connection
from ingestion.errors import DeclarationError, IngestionError
from ingestion.settings import AirbyteSettings, environment, warehouse_conninfo

__all__ = ["Airbyte", "Warehouse"]


class Airbyte(dg.ConfigurableResource[Any]):
    """The Airbyte that `AIRBYTE_URL` names."""

    def sync(self, connection: Connection, log: logging.Logger) -> Mapping[str, Any]:
        """Sync a connection and return the metadata of what it made.

        Raise `dg.Failure` if the sync does not succeed.
        """
        # Imported here, because only a run needs them: the location loads faster.
        from ingestion.airbyte.client import AirbyteApi
        from ingestion.airbyte.secrets import Redactor
        from ingestion.airbyte.sync import run_sync

        env = environment()
        with _failures():
            settings = AirbyteSettings.from_environment(env)
            with AirbyteApi(settings, redact=Redactor(*_secrets(connection, env))) as api:
                id_ = _connection_id(api, connection, settings, env, log)
                sync = run_sync(settings, api, id_, log)
        metadata: dict[str, Any] = {
            **data_time_metadata(sync.started),
            versions.JOB_ID: sync.job_id,
            "airbyte/job": dg.MetadataValue.url(sync.url),
            versions.CONNECTION_ID: sync.connection_id,
            "airbyte/sync_seconds": round(sync.seconds, 3),
            "airbyte/adopted": sync.adopted,
        }
        # Both count the whole connection: the public API has no counts by stream.
        if sync.rows is not None:
            metadata[versions.ROWS_SYNCED] = sync.rows
        if sync.bytes is not None:
            metadata["airbyte/bytes_synced"] = sync.bytes
        if sync.previous_job_id is not None:
            metadata[versions.PREVIOUS_JOB_ID] = sync.previous_job_id
        return metadata


class Warehouse(dg.ConfigurableResource[Any]):
    """The Postgres that the `WAREHOUSE_*` variables name."""

    def content(
        self,
        schema: str,
        table: str,
        *,
        cursor: str | None = None,
        since: datetime | None = None,
    ) -> tables.Content:
        """Return what is in a table, and what was written since: see `tables.read_content`."""
        with _failures():
            conninfo = warehouse_conninfo(environment())
            return tables.read_content(conninfo, schema, table, cursor=cursor, since=since)

    def ensure_view(self, view: views.NestedView) -> int:
        """Make a view as declared, and return the number of rows in it."""
        with _failures():
            return views.ensure_view(warehouse_conninfo(environment()), view)


@contextmanager
def _failures() -> Iterator[None]:
    """Turn an error that is written for people into a failed run, without a traceback."""
    try:
        yield
    except IngestionError as error:
        raise dg.Failure(str(error)) from None


def _connection_id(
    api: Any,
    connection: Connection,
    settings: AirbyteSettings,
    env: Mapping[str, str],
    log: logging.Logger,
) -> str:
    """Return the connection's id in Airbyte. In development, apply the declaration first."""
    from ingestion.airbyte.apply import apply, connection_id_of
    from ingestion.airbyte.secrets import WarehouseDigests

    if settings.development:
        # The ports, the repository and the passwords of a laptop's stack change when it is set up
        # anew. Nobody should have to run `ingestion apply` then.
        apply(
            api,
            [connection],
            env,
            WarehouseDigests(warehouse_conninfo(env)),
            lambda plan: log.info("Airbyte's %s %s: applied", plan.kind, plan.name),
        )
    found = connection_id_of(api, connection)
    if found is None:
        raise DeclarationError(
            f"Airbyte at {settings.url} has no connection {connection.name_in_airbyte!r}: run "
            "`ingestion check`, then `ingestion apply`"
        )
    return found


def _secrets(connection: Connection, env: Mapping[str, str]) -> list[str]:
    """Return the secrets that the messages about this connection must not show."""
    from ingestion.airbyte.configuration import secret_values

    return [
        *secret_values(connection.source.configuration, env),
        *secret_values(connection.destination.configuration, env),
    ]
