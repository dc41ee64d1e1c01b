"""The classes with which a connection is declared.

A declaration is plain data: importing it reads no environment and opens no network connection.
What differs between deployments is written as `Env("NAME")` or, for a secret, `Secret("NAME")`,
and looked up when a command or a run needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from ingestion.airbyte.identifiers import refuse_long_names
from ingestion.airbyte.keys import DEDUPLICATING, refuse_keys_that_lose_rows
from ingestion.errors import DeclarationError

__all__ = [
    "Basic",
    "Connection",
    "Cron",
    "Destination",
    "Env",
    "Nested",
    "Secret",
    "Source",
    "Stream",
    "SyncMode",
    "check_connections",
]

SyncMode = Literal[
    "full_refresh_overwrite",
    "full_refresh_overwrite_deduped",
    "full_refresh_append",
    "incremental_append",
    "incremental_deduped_history",
]
"""The names that the public API uses; `incremental_deduped_history` is "append + dedup"."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Env:
    """A value that the environment supplies."""

    name: str
    _: KW_ONLY
    default: str | None = None
    type: Literal["string", "integer"] = "string"


@dataclass(frozen=True)
class Secret:
    """A secret that the environment supplies: sent to Airbyte, never shown or stored."""

    name: str
    _: KW_ONLY
    adopted: bool = False
    """Whether Airbyte had it before it was declared. What Airbyte has then counts as the same until
    the first apply remembers the variable's value. A later value is sent, as for any secret."""


@dataclass(frozen=True)
class Cron:
    """A schedule on which Airbyte itself starts syncs: `Cron("0 0 12 * * ? UTC")`.

    A Quartz expression (seconds first) and a time zone; without one, it is in UTC.
    """

    expression: str


@dataclass(frozen=True)
class Basic:
    """A schedule that was chosen in Airbyte's UI: `Basic("Every 24 HOURS")`.

    The public API shows it, and cannot set it.
    """

    timing: str


class Source(Model):
    """Where rows come from: a connector and its configuration."""

    name: str = Field(min_length=1)
    type: str = Field(pattern=r"^[a-z0-9-]+$")
    """The connector, as the public API calls it: `github`, `postgres`, `salesforce`."""
    configuration: Mapping[str, Any]

    @property
    def connector(self) -> str:
        return f"source-{self.type}"


class Destination(Model):
    """Where rows go."""

    name: str = Field(min_length=1)
    type: str = Field(pattern=r"^[a-z0-9-]+$")
    configuration: Mapping[str, Any]

    @property
    def connector(self) -> str:
        return f"destination-{self.type}"


class Nested(Model):
    """A view in the warehouse that shows an object column of a stream as a relation of its own."""

    name: str
    """The view's name, and the table part of its asset key."""
    column: str
    """The object column whose properties become the view's columns."""
    keep: tuple[str, ...] = ()
    """Columns of the stream that come first in the view."""
    description: str = ""


class Stream(Model):
    """One table that a connection keeps up to date."""

    name: str
    namespace: str = ""
    """Where the source has it, if it says so: the schema of a database's table."""
    sync_mode: SyncMode
    """How rows are read and written. Only the two `full_refresh_overwrite` modes lose what the
    source has removed and get rows that come late. The incremental ones read the rows whose cursor
    is not below the newest one read: removed rows stay, later ones with an older cursor are missed
    (unless the connector reads a database's log). The append modes have a row more than once.
    `ingestion check` says what this means for each stream."""
    cursor: str | None = None
    """A field, or the path of a nested one: "meta.updated_at"."""
    primary_key: tuple[str, ...] = ()
    """What tells rows apart: of the rows that share it, a mode that deduplicates keeps one. If the
    connector defines it, it cannot be another, and it may hold within one repository only."""
    fields: tuple[str, ...] = ()
    """The fields to sync; empty means all of them."""
    description: str = ""
    nested: tuple[Nested, ...] = ()

    @model_validator(mode="after")
    def _has_key_and_cursor(self) -> Stream:
        if self.sync_mode in DEDUPLICATING and not self.primary_key:
            how = (
                "append + dedup"
                if self.sync_mode.startswith("incremental")
                else "overwrite + dedup"
            )
            raise ValueError(f"stream {self.name}: {how} needs a primary_key")
        if self.fields:
            paths = (*self.primary_key, *((self.cursor,) if self.cursor else ()))
            needed = {path.split(".")[0] for path in paths}
            if missing := sorted(needed - set(self.fields)):
                raise ValueError(f"stream {self.name}: fields must include {', '.join(missing)}")
        return self


class Connection(Model):
    """What Airbyte moves from a source to a destination, and how the lineage shows it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Also the name of the op and the pool; the schedule's name begins with it."""
    airbyte_name: str = ""
    """The connection's name in Airbyte, if it is another one: "GitHub → Postgres"."""
    source: Source
    destination: Destination
    namespace: str = Field(pattern=r"^[a-z_][a-z0-9_]*$")
    """The schema that rows land in, and the layer of the asset keys."""
    namespace_definition: Literal["custom_format", "destination", "source"] = "custom_format"
    """How Airbyte is told the namespace: by its name, or as the destination's default schema, or as
    the namespace that the streams have in the source."""
    prefix: str = ""
    """Put before the name of every stream and view. In Postgres, the whole has at most 63 bytes."""
    streams: tuple[Stream, ...] = Field(min_length=1)
    schedule: Literal["manual"] | Cron | Basic = "manual"
    """When Airbyte itself starts a sync: with "manual" never, Dagster does. Dagster does not know
    of the syncs that Airbyte starts."""
    sync_every_minutes: int | None = Field(default=None, ge=1, le=60)
    """Minutes between two syncs that Dagster's schedule starts; None means no schedule."""
    group: str = "ingestion"
    owners: tuple[str, ...] = ()

    @property
    def name_in_airbyte(self) -> str:
        return self.airbyte_name or self.name

    @field_validator("sync_every_minutes")
    @classmethod
    def _divides_the_hour(cls, minutes: int | None) -> int | None:
        if minutes is not None and 60 % minutes:
            raise ValueError("sync_every_minutes must divide 60, for an even cron schedule")
        return minutes

    @model_validator(mode="after")
    def _lands_in_its_namespace(self) -> Connection:
        """Refuse a namespace that is not the one that Airbyte would take."""
        if self.namespace_definition == "custom_format":
            return self
        default = default_schema(self.destination.configuration)
        for stream in self.streams:
            lands = (self.namespace_definition == "source" and stream.namespace) or default
            if isinstance(lands, str) and lands != self.namespace:
                raise ValueError(
                    f"namespace must be {lands!r}, where stream {stream.name!r} lands with "
                    f'namespace_definition="{self.namespace_definition}"'
                )
        return self


def default_schema(configuration: Mapping[str, Any]) -> Any:
    """Return the schema for streams without a namespace: a text or a variable; None if unknown."""
    return configuration.get("schema") or configuration.get("dataset_id")


def check_connections(connections: tuple[Connection, ...]) -> tuple[Connection, ...]:
    """Return the connections.

    Raise `DeclarationError` if two of them contradict each other, if one has a name that the
    destination would shorten, or if one would lose rows that have the same primary key.
    """
    for connection in connections:
        refuse_long_names(connection)
        refuse_keys_that_lose_rows(connection, connection.source.configuration)
    _refuse_duplicates("connection", [c.name for c in connections])
    _refuse_duplicates("connection", [c.name_in_airbyte for c in connections])
    for kind in ("source", "destination"):
        by_name: dict[str, Any] = {}
        for connection in connections:
            actor = getattr(connection, kind)
            if by_name.setdefault(actor.name, actor) != actor:
                raise DeclarationError(
                    f"two {kind}s named {actor.name!r} differ (second one in connection "
                    f"{connection.name!r}): give one another name, or share one {kind}"
                )
    tables = [
        f"{c.namespace}.{c.prefix}{name}"
        for c in connections
        for stream in c.streams
        for name in (stream.name, *(nested.name for nested in stream.nested))
    ]
    _refuse_duplicates("table", tables)
    return connections


def _refuse_duplicates(what: str, names: list[str]) -> None:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise DeclarationError(
            f"{what} {twice[0]!r} is declared twice in connections.py: each needs its own name"
            + (" (a prefix or namespace of its own)" if what == "table" else "")
        )
