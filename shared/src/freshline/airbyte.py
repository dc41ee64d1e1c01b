"""Keys, columns and specs of the tables that Airbyte loads streams into.

The name and JSON schema of a stream are enough: nothing here asks an Airbyte server or imports
`dagster_airbyte`. Columns have the types that Airbyte's typed destinations give them in Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from freshline.errors import StreamError
from freshline.keys import asset_key
from freshline.names import COLUMN_SCHEMA, TABLE_NAME, VIEW

__all__ = ["column_type", "nested_columns", "stream_columns", "stream_key", "stream_spec"]

_AIRBYTE_COLUMNS: Final = (
    ("_airbyte_raw_id", "text", False, "Identifies the row as it was read."),
    ("_airbyte_extracted_at", "timestamptz", False, "When the row was read, UTC."),
    ("_airbyte_meta", "jsonb", False, "What Airbyte changed in the row on its way."),
    ("_airbyte_generation_id", "bigint", True, "Counts the refreshes of the stream."),
)
"""The first columns of every table that a typed destination of Airbyte makes: name, type, nullable,
description."""

_SCALARS: Final = {"string": "text", "integer": "bigint", "number": "numeric", "boolean": "boolean"}
_TIMES: Final = {
    "date": "date",
    "date-time": "timestamptz",
    "time": "timetz",
    "timestamp_with_timezone": "timestamptz",
    "timestamp_without_timezone": "timestamp",
    "time_with_timezone": "timetz",
    "time_without_timezone": "time",
}


def stream_key(namespace: str, stream: str, *, prefix: str = "", where: str = "") -> dg.AssetKey:
    """Return the key of the table of a stream: ``[namespace, prefix + stream]``.

    `where` names what declares the stream and in which file, for the message of the
    `KeyConventionError` that a name outside the convention raises.
    """
    return asset_key(namespace, prefix + stream, where=where)


def stream_columns(
    json_schema: Mapping[str, Any], fields: Iterable[str] = ()
) -> tuple[dg.TableColumn, ...]:
    """Return the columns of a stream's table: Airbyte's own, then `fields` (empty: all fields).

    Raises `StreamError` for a field that the schema does not have.
    """
    properties = _properties(json_schema)
    wanted = tuple(fields) or tuple(properties)
    if missing := [name for name in wanted if name not in properties]:
        raise StreamError(
            f"no field {missing[0]!r} in the stream's schema, which has {', '.join(properties)}"
        )
    own = (
        dg.TableColumn(
            name, kind, description=text, constraints=dg.TableColumnConstraints(nullable=nullable)
        )
        for name, kind, nullable, text in _AIRBYTE_COLUMNS
    )
    return (*own, *(_column(name, properties[name]) for name in wanted))


def nested_columns(
    json_schema: Mapping[str, Any], column: str, keep: Sequence[str] = ()
) -> tuple[dg.TableColumn, ...]:
    """Return the columns of a view over an object column: those in `keep`, then its properties.

    Raises `StreamError` if `column` is no object, or if two columns would have the same name.
    """
    properties = _properties(json_schema)
    nested = _properties(properties.get(column, {}))
    if not nested:
        raise StreamError(f"the stream's schema has no properties for an object {column!r}")
    if clash := sorted(set(keep) & set(nested)):
        raise StreamError(f"{clash[0]!r} is both kept and a property of {column!r}: keep fewer")
    return (
        *(_column(name, properties[name]) for name in keep),
        *(_column(name, schema) for name, schema in nested.items()),
    )


def stream_spec(
    key: dg.AssetKey,
    *,
    connection: str,
    columns: Sequence[dg.TableColumn],
    destination: str,
    deps: Sequence[dg.AssetKey] = (),
    description: str = "",
    group: str | None = None,
    owners: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    view: bool = False,
) -> dg.AssetSpec:
    """Return the spec of a table, or of a view over one, that a connection keeps up to date.

    `destination` is the type of the connector, such as ``"postgres"``, and shows as a kind. The
    table's name is made of the two parts of the key, without the database, which differs between
    deployments. With `view`, it is a view over its `deps`: as fresh as they are, without a run.
    """
    return dg.AssetSpec(
        key,
        deps=list(deps),
        description=description or None,
        group_name=group,
        owners=list(owners),
        kinds={"airbyte", destination},
        metadata={
            COLUMN_SCHEMA: dg.TableSchema(columns=list(columns)),
            TABLE_NAME: ".".join(key.path),
            "airbyte/connection": connection,
            **({VIEW: True} if view else {}),
            **(metadata or {}),
        },
    )


def column_type(schema: Mapping[str, Any]) -> str:
    """Return the Postgres type of a column whose field has this JSON schema."""
    kinds = schema.get("type", ())
    names = {kinds} if isinstance(kinds, str) else set(kinds)
    names.discard("null")
    if len(names) != 1 or "oneOf" in schema or "anyOf" in schema:
        return "jsonb"  # a union, or no type at all
    (name,) = names
    airbyte_type = schema.get("airbyte_type")
    if name == "string":
        return _TIMES.get(str(airbyte_type)) or _TIMES.get(str(schema.get("format")), "text")
    if name == "number" and airbyte_type in ("integer", "big_integer"):
        return "bigint"
    return _SCALARS.get(name, "jsonb")


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties") or {}
    return properties


def _column(name: str, schema: Mapping[str, Any]) -> dg.TableColumn:
    return dg.TableColumn(name, column_type(schema), description=schema.get("description"))
