# ruff: noqa: N815 - the names are Airbyte's
"""Requests and answers of the public API, in Airbyte's own form and names.

Answers have no nulls: a field without a value is left out.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field, StrictStr

# Without NUL, which Postgres cannot store. No name is nearly as long as the limit.
Name = Annotated[StrictStr, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
Text = Annotated[StrictStr, Field(max_length=10_000, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]

SyncMode = Literal[
    "full_refresh_overwrite",
    "full_refresh_overwrite_deduped",
    "full_refresh_append",
    "full_refresh_update",
    "full_refresh_soft_delete",
    "incremental_append",
    "incremental_deduped_history",
    "incremental_update",
    "incremental_soft_delete",
]
JobStatus = Literal["pending", "running", "incomplete", "failed", "succeeded", "cancelled"]
JobType = Literal["sync", "reset", "refresh", "clear"]
NamespaceDefinition = Literal["source", "destination", "custom_format"]
SchemaUpdates = Literal["ignore", "disable_connection", "propagate_columns", "propagate_fully"]
ConnectionStatus = Literal["active", "inactive", "deprecated", "locked"]


class TokenResponse(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind, not a secret
    expires_in: int


class Workspace(BaseModel):
    workspaceId: UUID
    name: str
    dataResidency: str = "auto"
    notifications: dict[str, Any] = {}


class ActorCreate(BaseModel):
    """A new source or destination. Its type is in the configuration, or `definitionId` says it."""

    name: Name
    workspaceId: UUID
    configuration: dict[str, Any]
    definitionId: UUID | None = None


class ActorPatch(BaseModel):
    name: Name | None = None
    configuration: dict[str, Any] | None = None


class ActorPut(BaseModel):
    name: Name
    configuration: dict[str, Any]


class Source(BaseModel):
    sourceId: UUID
    name: str
    sourceType: str
    definitionId: UUID
    workspaceId: UUID
    configuration: dict[str, Any]
    createdAt: int


class Destination(BaseModel):
    destinationId: UUID
    name: str
    destinationType: str
    definitionId: UUID
    workspaceId: UUID
    configuration: dict[str, Any]
    createdAt: int


class SelectedField(BaseModel):
    fieldPath: list[Text]


class StreamConfiguration(BaseModel):
    name: Name
    namespace: Text | None = None
    syncMode: SyncMode | None = None
    cursorField: list[Text] | None = None
    primaryKey: list[list[Text]] | None = None
    selectedFields: list[SelectedField] | None = None
    mappers: list[dict[str, Any]] | None = None


class StreamConfigurations(BaseModel):
    streams: list[StreamConfiguration] | None = None


class Schedule(BaseModel):
    """When a connection syncs. It is only stored: this server starts nothing, Dagster does."""

    scheduleType: Literal["manual", "cron"]
    cronExpression: Text | None = None


class Tag(BaseModel):
    tagId: UUID
    workspaceId: UUID
    name: Text
    color: Text


class ConnectionPatch(BaseModel):
    name: Name | None = None
    configurations: StreamConfigurations | None = None
    schedule: Schedule | None = None
    namespaceDefinition: NamespaceDefinition | None = None
    namespaceFormat: Text | None = None
    prefix: Text | None = None
    nonBreakingSchemaUpdatesBehavior: SchemaUpdates | None = None
    status: ConnectionStatus | None = None
    tags: list[Tag] | None = None


class ConnectionCreate(ConnectionPatch):
    sourceId: UUID
    destinationId: UUID


class Connection(BaseModel):
    connectionId: UUID
    name: str
    sourceId: UUID
    destinationId: UUID
    workspaceId: UUID
    status: ConnectionStatus
    schedule: Schedule
    configurations: StreamConfigurations
    namespaceDefinition: NamespaceDefinition
    namespaceFormat: str | None = None
    prefix: str
    nonBreakingSchemaUpdatesBehavior: SchemaUpdates
    createdAt: int
    tags: list[Tag]


class StreamProperties(BaseModel):
    streamName: str
    streamnamespace: str | None = None
    syncModes: list[SyncMode]
    defaultCursorField: list[str]
    sourceDefinedCursorField: bool
    sourceDefinedPrimaryKey: list[list[str]]
    propertyFields: list[list[str]]


class JobCreate(BaseModel):
    connectionId: UUID
    jobType: JobType


class Job(BaseModel):
    """A job. `startTime` and `lastUpdatedAt` are in UTC; they and `duration` are ISO 8601."""

    jobId: int
    status: JobStatus
    jobType: JobType
    connectionId: UUID
    startTime: str
    lastUpdatedAt: str
    duration: str
    bytesSynced: int
    rowsSynced: int


class Workspaces(BaseModel):
    previous: str | None = None
    next: str | None = None
    data: list[Workspace]


class Sources(BaseModel):
    previous: str | None = None
    next: str | None = None
    data: list[Source]


class Destinations(BaseModel):
    previous: str | None = None
    next: str | None = None
    data: list[Destination]


class Connections(BaseModel):
    previous: str | None = None
    next: str | None = None
    data: list[Connection]


class Jobs(BaseModel):
    previous: str | None = None
    next: str | None = None
    data: list[Job]


def iso_time(time: dt.datetime) -> str:
    """Return a time as Airbyte writes it: in UTC, in whole seconds, with `Z`."""
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_duration(duration: dt.timedelta) -> str:
    """Return a duration as Airbyte writes it, in hours, minutes and seconds: `PT8H6M12S`."""
    minutes, seconds = divmod(max(0, int(duration.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n]
    return "PT" + ("".join(parts) or "0S")
