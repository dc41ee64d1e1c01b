"""The versions that a sync makes. If it left an asset as it was, the data version stays.

Two versions with the same data version are the same data, seen later, and nothing that has read the
first is made again for the second. A wrong "unchanged" would hide rows from everything below; a
wrong "new" costs a run. So the data are new unless everything says that they are not:

- The version before was made by the job of the connection right before this one.
- Every row that Airbyte says it synced is found in the warehouse.
- The warehouse has what it had then: these rows were there already, with the same values.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import dagster as dg

from ingestion.airbyte.declaration import Connection, Stream
from ingestion.tables import Content
from ingestion.views import NestedView

__all__ = [
    "CONNECTION_ID",
    "JOB_ID",
    "OF_ALL",
    "PREVIOUS_JOB_ID",
    "ROWS_SYNCED",
    "Before",
    "made",
    "metadata_of",
    "metadata_of_view",
    "version_before",
    "why_rows_are_new",
]

DATA_VERSION: Final = "dagster/data_version"
DATA_VERSION_SET: Final = "dagster/data_version_is_user_provided"
"""Tags that Dagster writes on a materialization, the second if the step has set the first."""

JOB_ID: Final = "airbyte/job_id"
PREVIOUS_JOB_ID: Final = "airbyte/previous_job_id"
"""The job of the connection right before, of any type."""
CONNECTION_ID: Final = "airbyte/connection_id"
ROWS_SYNCED: Final = "airbyte/rows_synced"
ROW_COUNT: Final = "dagster/row_count"
CONTENT: Final = "ingestion/content"
"""The same text as before if the table (of a view: and its query) is as before. None: unknown."""
EXTRACTED_UNTIL: Final = "ingestion/extracted_until"
"""On a table: when Airbyte read the row that it read last. ISO 8601."""
UNCHANGED: Final = "ingestion/unchanged"
OF_ALL: Final = (JOB_ID, PREVIOUS_JOB_ID, CONNECTION_ID, ROWS_SYNCED)
"""The metadata of a sync that every version has which the sync has made."""


@dataclass(frozen=True)
class Before:
    """The version before the one that is being made. A sync has made it and set `data_version`."""

    data_version: str
    metadata: Mapping[str, Any]

    @property
    def extracted_until(self) -> datetime | None:
        """When Airbyte had read the newest row of the table; None: it had no row."""
        text = self.metadata.get(EXTRACTED_UNTIL)
        return datetime.fromisoformat(text) if text else None


def version_before(instance: dg.DagsterInstance, key: dg.AssetKey) -> Before | None:
    """Return the newest version of an asset; None if there is none, or no sync has made it."""
    for record in instance.fetch_materializations(key, limit=1).records:
        found = record.asset_materialization
        tags = (found.tags if found else None) or {}
        if found and JOB_ID in found.metadata and tags.get(DATA_VERSION_SET) == "true":
            values = {name: value.value for name, value in found.metadata.items()}
            return Before(tags[DATA_VERSION], values)
    return None


def metadata_of(content: Content) -> dict[str, Any]:
    """Return what a version states about the table; what is not known is None."""
    until = content.extracted_until
    return {
        ROW_COUNT: content.rows,
        CONTENT: content.mark,
        EXTRACTED_UNTIL: until and until.isoformat(),
    }


def metadata_of_view(content: Content, view: NestedView, rows: int) -> dict[str, Any]:
    """Return what a version states about a view over a table with that content."""
    return {ROW_COUNT: rows, CONTENT: content.mark and f"{content.mark}-{view.mark}"}


def why_rows_are_new(
    connection: Connection,
    metadata: Mapping[str, Any],
    contents: Mapping[str, Content],
    stream: Stream,
) -> str | None:
    """Return why rows that a sync brought may be new in the table of a stream.

    None: if the table has the same `CONTENT` as before, they were there already. `contents` has all
    tables of the connection, by stream.
    """
    rows = metadata.get(ROWS_SYNCED)
    if rows is None:
        return "Airbyte does not say how many rows came"
    full = [one.name for one in connection.streams if not one.sync_mode.startswith("incremental")]
    if full:
        return f"{full[0]} is read in full"
    written = sum(content.written for content in contents.values())
    if rows != written:
        return f"{rows} rows came, of which {written} are found in the warehouse"
    if contents[stream.name].written_elsewhere:
        return f"{rows} rows came"
    return None


def made(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    metadata: Mapping[str, Any],
    before: Before | None,
    why_rows_new: str | None,
) -> dg.MaterializeResult[Any]:
    """Return the version of an asset that a sync made: with the data version before, or a new one.

    `metadata` has `OF_ALL` and `CONTENT`; what is not known is None. `why_rows_new` is that of
    `why_rows_are_new` for the table.
    """
    name = key.to_user_string()
    why_new = _why_another(metadata, before) or why_rows_new or _why_changed(metadata, before)
    if before is None or why_new is not None:
        # The job alone would not do: an Airbyte that is set up anew counts from 1 again.
        data_version = f"{metadata[JOB_ID]}-{uuid.uuid4().hex[:12]}"
        context.log.info("%s has new data: %s.", name, why_new)
    else:
        data_version = before.data_version
        context.log.info(
            "%s is as Airbyte job %s left it. Rows that came again with the same values: %s.",
            *(name, before.metadata[JOB_ID], metadata[ROWS_SYNCED]),
        )
    known = {name: value for name, value in metadata.items() if value is not None}
    return dg.MaterializeResult(
        asset_key=key,
        metadata={**known, UNCHANGED: why_new is None},
        data_version=dg.DataVersion(data_version),
    )


def _why_another(metadata: Mapping[str, Any], before: Before | None) -> str | None:
    """Return why the version before says nothing about this one; None if it does."""
    if before is None:
        return "no sync has made a version right before"
    if metadata[CONNECTION_ID] != before.metadata.get(CONNECTION_ID):
        return "the version before is of another connection in Airbyte"
    job = before.metadata[JOB_ID]
    if metadata.get(PREVIOUS_JOB_ID) != job:
        return f"job {job}, which made the version before, is not Airbyte's job right before"
    return None


def _why_changed(metadata: Mapping[str, Any], before: Before | None) -> str | None:
    content = metadata.get(CONTENT)
    if before is None or content is None or content != before.metadata.get(CONTENT):
        return "the warehouse does not have what it had before"
    return None
