"""The streams of a connection and their settings, checked against what the source has.

The public API stores and shows these settings. A sync runs the streams that they describe, and the
internal API answers with the catalog that they give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devstack.airbyte.errors import unprocessable
from devstack.airbyte.models import StreamConfiguration, StreamProperties, SyncMode
from devstack.airbyte.registry import Connector

# For each mode of the public API that this server can do: how the source is read, and how the
# destination writes.
SYNC_MODES: dict[SyncMode, tuple[str, str]] = {
    "full_refresh_overwrite": ("full_refresh", "overwrite"),
    "full_refresh_overwrite_deduped": ("full_refresh", "overwrite_dedup"),
    "full_refresh_append": ("full_refresh", "append"),
    "incremental_append": ("incremental", "append"),
    "incremental_deduped_history": ("incremental", "append_dedup"),
}
_NAMESPACE_VARIABLE = "${SOURCE_NAMESPACE}"

Setting = dict[str, Any]


def settings_of(source: Connector, wanted: list[StreamConfiguration] | None) -> list[Setting]:
    """Return the settings to store: the wanted ones, with defaults filled in.

    If `wanted` is None, they are a full refresh of every stream, as with Airbyte. Raises `Problem`
    422, which names the stream and what is wrong with it.
    """
    if wanted is None:
        wanted = [StreamConfiguration(name=name) for name in source.streams]
    names = [one.name for one in wanted]
    for name in names:
        if names.count(name) > 1:
            raise unprocessable(f"stream {name!r} is configured twice")
    return [_setting(source, one) for one in wanted]


def _setting(source: Connector, wanted: StreamConfiguration) -> Setting:
    stream = source.streams.get(wanted.name)
    if stream is None:
        raise unprocessable(f"the source has no stream {wanted.name!r}")
    if wanted.mappers:
        raise unprocessable(f"stream {wanted.name!r}: mappers are not supported by this server")
    mode = wanted.syncMode or "full_refresh_overwrite"
    if mode not in _modes_of(stream):
        possible = ", ".join(_modes_of(stream))
        raise unprocessable(f"stream {wanted.name!r} cannot sync as {mode}; it can: {possible}")
    reads, writes = SYNC_MODES[mode]
    cursor = _cursor(stream, wanted) if reads == "incremental" else []
    key = _key(stream, wanted) if writes.endswith("dedup") else []
    setting: Setting = {"name": wanted.name, "syncMode": mode}
    if stream.get("namespace"):
        setting["namespace"] = stream["namespace"]
    setting["cursorField"] = cursor or stream.get("default_cursor_field") or []
    setting["primaryKey"] = key or stream.get("source_defined_primary_key") or []
    if wanted.selectedFields:
        setting["selectedFields"] = _selection(
            stream, wanted, [*key, *([cursor] if cursor else [])]
        )
    return setting


def _cursor(stream: Mapping[str, Any], wanted: StreamConfiguration) -> list[str]:
    default: list[str] = stream.get("default_cursor_field") or []
    if stream.get("source_defined_cursor"):
        if wanted.cursorField and wanted.cursorField != default:
            raise unprocessable(f"stream {wanted.name!r}: its cursor is set by the source")
        return default
    cursor = wanted.cursorField or default
    if not cursor:
        raise unprocessable(f"stream {wanted.name!r}: an incremental sync needs a cursorField")
    _known(stream, wanted.name, cursor)
    return cursor


def _key(stream: Mapping[str, Any], wanted: StreamConfiguration) -> list[list[str]]:
    defined: list[list[str]] = stream.get("source_defined_primary_key") or []
    if defined:
        if wanted.primaryKey and wanted.primaryKey != defined:
            raise unprocessable(f"stream {wanted.name!r}: its primary key is set by the source")
        return defined
    if not wanted.primaryKey:
        raise unprocessable(f"stream {wanted.name!r}: deduplication needs a primaryKey")
    for path in wanted.primaryKey:
        _known(stream, wanted.name, path)
    return wanted.primaryKey


def _selection(
    stream: Mapping[str, Any], wanted: StreamConfiguration, needed: list[list[str]]
) -> list[dict[str, list[str]]]:
    paths = [one.fieldPath for one in wanted.selectedFields or []]
    for path in paths:
        _known(stream, wanted.name, path)
    for path in needed:
        if path not in paths:
            raise unprocessable(
                f"stream {wanted.name!r}: field {'.'.join(path)!r} must stay selected, the sync"
                " needs it as cursor or primary key"
            )
    return [{"fieldPath": path} for path in paths]


def _known(stream: Mapping[str, Any], name: str, path: list[str]) -> None:
    """Raise `Problem` 422 unless the path is a top-level field: only these become columns."""
    if len(path) != 1 or path[0] not in (stream["json_schema"].get("properties") or {}):
        raise unprocessable(f"stream {name!r} has no top-level field {'.'.join(path)!r}")


def _modes_of(stream: Mapping[str, Any]) -> list[SyncMode]:
    supported = stream.get("supported_sync_modes") or ["full_refresh"]
    return [mode for mode, (reads, _) in SYNC_MODES.items() if reads in supported]


def properties_of(source: Connector) -> list[StreamProperties]:
    """Return what `GET /streams` answers for each stream of a source."""
    return [
        StreamProperties(
            streamName=name,
            streamnamespace=stream.get("namespace"),
            syncModes=_modes_of(stream),
            defaultCursorField=stream.get("default_cursor_field") or [],
            sourceDefinedCursorField=bool(stream.get("source_defined_cursor")),
            sourceDefinedPrimaryKey=stream.get("source_defined_primary_key") or [],
            propertyFields=[[field] for field in stream["json_schema"].get("properties") or {}],
        )
        for name, stream in source.streams.items()
    ]


def streams_to_sync(
    source: Connector, connection: Mapping[str, Any], default_schema: str
) -> list[dict[str, Any]]:
    """Return the streams that a sync reads, each with the schema and table of its rows."""
    streams = []
    for setting in connection["streams"]:
        stream = source.streams.get(setting["name"])
        if stream is None:
            continue
        reads, writes = SYNC_MODES[setting["syncMode"]]
        selected = setting.get("selectedFields")
        streams.append(
            {
                "stream": stream,
                "sync_mode": reads,
                "destination_sync_mode": writes,
                "cursor_field": setting["cursorField"],
                "primary_key": setting["primaryKey"],
                "selected_fields": [one["fieldPath"][0] for one in selected] if selected else None,
                "schema": _schema_of(connection, stream.get("namespace"), default_schema),
                "table": connection["prefix"] + setting["name"],
            }
        )
    return streams


def _schema_of(connection: Mapping[str, Any], namespace: str | None, default: str) -> str:
    definition = connection["namespaceDefinition"]
    if definition == "source":
        return namespace or default
    if definition == "custom_format":
        form: str = connection.get("namespaceFormat") or ""
        return form.replace(_NAMESPACE_VARIABLE, namespace or "") or default
    return default


def internal_catalog(source: Connector, settings: list[Setting]) -> dict[str, Any]:
    """Return the catalog of a connection in the form of the internal API.

    It has the streams of the connection alone, not all of the source.
    """
    streams = []
    for setting in settings:
        stream = source.streams.get(setting["name"])
        if stream is None:
            continue
        reads, writes = SYNC_MODES[setting["syncMode"]]
        selected = setting.get("selectedFields")
        described = {
            "name": setting["name"],
            "namespace": stream.get("namespace"),
            "jsonSchema": stream["json_schema"],
            "supportedSyncModes": stream.get("supported_sync_modes") or ["full_refresh"],
            "sourceDefinedCursor": bool(stream.get("source_defined_cursor")),
            "defaultCursorField": stream.get("default_cursor_field") or [],
            "sourceDefinedPrimaryKey": stream.get("source_defined_primary_key") or [],
        }
        configured = {
            "syncMode": reads,
            "destinationSyncMode": writes,
            "cursorField": setting["cursorField"],
            "primaryKey": setting["primaryKey"],
            "aliasName": setting["name"],
            "selected": True,
            "fieldSelectionEnabled": bool(selected),
            "selectedFields": selected or [],
        }
        described = {name: value for name, value in described.items() if value is not None}
        streams.append({"stream": described, "config": configured})
    return {"streams": streams}
