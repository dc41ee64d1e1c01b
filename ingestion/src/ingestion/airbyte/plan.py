"""What has to change in Airbyte so that it is as declared. Nothing is changed here.

Only what is declared is compared. These are not differences: the order of streams, nulls, defaults
that the server fills in, the way numbers are written, masked secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ingestion.airbyte.client import AirbyteApi, Kind
from ingestion.airbyte.compare import Change, added, configuration_changes, secret_changes
from ingestion.airbyte.configuration import Configuration, resolve
from ingestion.airbyte.declaration import Basic, Connection, Cron, Destination, Source, Stream
from ingestion.airbyte.identifiers import shared_raw_tables
from ingestion.airbyte.keys import refuse_keys_that_lose_rows
from ingestion.airbyte.losses import notes_of
from ingestion.airbyte.record import recorded_stream
from ingestion.airbyte.secrets import DigestStore
from ingestion.errors import PlanError

__all__ = [
    "Change",
    "ObjectPlan",
    "Plan",
    "make_plan",
    "plan_actor",
    "plan_connection",
    "refuse_second_writer",
]


@dataclass(frozen=True)
class ObjectPlan:
    """What has to change in one source, destination or connection."""

    kind: Kind
    name: str
    id: str | None
    """None if it has to be created."""
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether Airbyte has it as declared."""
        return self.id is not None and not self.changes

    @property
    def removes(self) -> bool:
        """Whether something has to be removed from the configuration, which an update cannot do."""
        return any(c.operation == "-" and c.path[0] == "configuration" for c in self.changes)


@dataclass(frozen=True)
class Plan:
    """What has to change in Airbyte: the sources and destinations, then the connections."""

    objects: tuple[ObjectPlan, ...]

    @property
    def empty(self) -> bool:
        return all(one.empty for one in self.objects)


def make_plan(
    api: AirbyteApi,
    connections: Iterable[Connection],
    env: Mapping[str, str],
    digests: DigestStore,
) -> Plan:
    """Return the plan for these connections, with the sources and destinations that they use.

    Raise `PlanError` if Airbyte cannot be changed into what is declared, `SettingsError` for the
    environment, `DeclarationError` for the declaration, `AirbyteError` for Airbyte itself.
    """
    connections = tuple(connections)
    wanted = configurations(connections, env)
    state = _State(api)
    shared = shared_raw_tables(connections)
    objects: dict[tuple[Kind, str], ObjectPlan] = {
        (kind, name): plan_actor(kind, actor, configuration, state.one(kind, name), digests)
        for (kind, name), (actor, configuration) in wanted.items()
    }
    for connection in connections:
        source = objects["source", connection.source.name]
        destination = objects["destination", connection.destination.name]
        actual = state.one("connection", connection.name_in_airbyte)
        if actual is None:
            others = state.every("connection")
            refuse_second_writer(connection, source.id, destination.id, others, connections)
        plan = plan_connection(connection, actual, source.id, destination.id)
        _, configuration = wanted["source", connection.source.name]
        notes = (*_unrecorded(connection), *notes_of(connection, configuration.values, shared))
        objects["connection", connection.name] = replace(plan, notes=notes)
    return Plan(tuple(objects.values()))


def configurations(
    connections: Iterable[Connection], env: Mapping[str, str]
) -> dict[tuple[Kind, str], tuple[Source | Destination, Configuration]]:
    """Return every source and destination in use, with its configuration looked up and checked.

    The key is the kind and the name. Raise `DeclarationError` also for a stream that would lose
    rows: how many repositories a source reads may depend on the environment.
    """
    connections = tuple(connections)
    found = {
        (kind, actor.name): (actor, resolve(actor, env))
        for connection in connections
        for kind, actor in actors(connection)
    }
    for connection in connections:
        _, configuration = found["source", connection.source.name]
        refuse_keys_that_lose_rows(connection, configuration.values)
    return found


def actors(connection: Connection) -> tuple[tuple[Kind, Source | Destination], ...]:
    """Return the source and the destination of a connection, each with its kind."""
    return ("source", connection.source), ("destination", connection.destination)


class _State:
    """What Airbyte has. Each kind is read from Airbyte only once."""

    def __init__(self, api: AirbyteApi) -> None:
        self._api = api
        self._entries: dict[Kind, list[dict[str, Any]]] = {}

    def every(self, kind: Kind) -> list[dict[str, Any]]:
        if kind not in self._entries:
            self._entries[kind] = list(self._api.every(kind))
        return self._entries[kind]

    def one(self, kind: Kind, name: str) -> dict[str, Any] | None:
        found = [entry for entry in self.every(kind) if entry.get("name") == name]
        return unique(kind, name, found)


def unique(kind: Kind, name: str, found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the only entry, None if there is none; raise `PlanError` if several have the name."""
    if len(found) > 1:
        ids = ", ".join(sorted(entry[f"{kind}Id"] for entry in found))
        raise PlanError(
            f"Airbyte has {len(found)} {kind}s named {name!r} ({ids}): delete or rename all but "
            "the one to keep, in Airbyte's UI, then run this again"
        )
    return found[0] if found else None


def plan_actor(
    kind: Kind,
    actor: Source | Destination,
    configuration: Configuration,
    actual: Mapping[str, Any] | None,
    digests: DigestStore,
) -> ObjectPlan:
    """Return what has to change in a source or destination.

    `actual` is the one in Airbyte, None if it has to be created.
    """
    notes: tuple[str, ...] = ()
    if not configuration.checked:
        notes = (
            f"no specification of {actor.connector} is committed: Airbyte alone will check it",
        )
    if actual is None:
        fields = {"type": actor.type, "configuration": dict(configuration.values)}
        return ObjectPlan(
            kind, actor.name, None, tuple(added(fields, (), configuration.secrets)), notes
        )
    old_type = actual.get(f"{kind}Type")
    if old_type is not None and old_type != actor.type:
        raise PlanError(
            f"{kind} {actor.name!r} is of type {old_type!r} in Airbyte and {actor.type!r} in "
            "connections.py: a type cannot be changed; give the new one another name"
        )
    id_ = str(actual[f"{kind}Id"])
    old = {k: v for k, v in (actual.get("configuration") or {}).items() if k != f"{kind}Type"}
    known = digests.read(id_)
    changes = (
        *configuration_changes(actor.connector, configuration, old),
        *secret_changes(configuration, old, known),
    )
    if unseen := sorted(configuration.adopted - set(known)):
        notes = (*notes, f"{', '.join(unseen)}: taken to be what Airbyte has, until the next apply")
    return ObjectPlan(kind, actor.name, id_, changes, notes)


def plan_connection(
    connection: Connection,
    actual: Mapping[str, Any] | None,
    source_id: str | None,
    destination_id: str | None,
) -> ObjectPlan:
    """Return what has to change in a connection.

    `actual` is the one in Airbyte. It and the ids are None for objects that have to be created.
    """
    name = connection.name_in_airbyte
    if actual is None:
        fields = {
            "source": connection.source.name,
            "destination": connection.destination.name,
            **{k: v for k, v in settings_of(connection).items() if v != ""},
            "streams": {s.name: stream_fields(connection, s) for s in connection.streams},
        }
        _refuse_basic(connection, None)
        return ObjectPlan("connection", name, None, tuple(added(fields, (), {})))
    for kind, id_, declared in (
        ("source", source_id, connection.source.name),
        ("destination", destination_id, connection.destination.name),
    ):
        if actual[f"{kind}Id"] != id_:
            raise PlanError(
                f"connection {name!r} has another {kind} in Airbyte than {declared!r}, "
                "and a connection cannot change its source or destination: give the new one "
                "another name in connections.py, or put the old one back"
            )
    changes: list[Change] = []
    before = {
        "status": actual.get("status") or "active",
        "schedule": _schedule_of(actual, connection.schedule),
        "namespace": _namespace_of(actual),
        "prefix": actual.get("prefix") or "",
    }
    for setting, new in settings_of(connection).items():
        if before[setting] != new:
            changes.append(Change("~", (setting,), before[setting], new))
    _refuse_basic(connection, before["schedule"])
    changes += _stream_changes(connection, actual)
    return ObjectPlan("connection", name, str(actual["connectionId"]), tuple(changes))


def refuse_second_writer(
    connection: Connection,
    source_id: str | None,
    destination_id: str | None,
    existing: Iterable[Mapping[str, Any]],
    declared: Iterable[Connection],
) -> None:
    """Raise `PlanError` if the new connection would write the tables of one that exists.

    Two connections would then read the same source into the same tables. Most likely the
    connection was renamed in connections.py alone, and Airbyte has it under its old name.
    """
    names = {connection.name_in_airbyte, *(one.name_in_airbyte for one in declared)}
    place = (destination_id, settings_of(connection)["namespace"], connection.prefix)
    streams = {stream.name for stream in connection.streams}
    for other in existing:
        theirs = (other["destinationId"], _namespace_of(other), other.get("prefix") or "")
        if other.get("name") in names or theirs != place or not streams & set(_selected(other)):
            continue
        known = f"{other['name']!r} ({other['connectionId']})"
        if other["sourceId"] != source_id:
            raise PlanError(
                f"connection {connection.name_in_airbyte!r} would write the tables of {known}, "
                "which reads another source into them and is not declared: declare another prefix "
                "or namespace, or delete the other one in Airbyte"
            )
        raise PlanError(
            f"connection {connection.name_in_airbyte!r} would be a second one beside {known}, "
            "which reads the same source into the same tables and is not declared: if it is the "
            "same, rename it in Airbyte, which keeps its state; else delete it there, or declare "
            "another prefix or namespace"
        )


def settings_of(connection: Connection) -> dict[str, str]:
    """Return a connection's own fields, as a plan shows them."""
    return {
        "status": "active",
        "schedule": _schedule_words(connection.schedule),
        "namespace": connection.namespace
        if connection.namespace_definition == "custom_format"
        else f"<the {connection.namespace_definition}'s>",
        "prefix": connection.prefix,
    }


def stream_fields(connection: Connection, stream: Stream) -> dict[str, Any]:
    """Return the settings of a stream that are declared, as a plan shows them."""
    fields: dict[str, Any] = {"sync_mode": stream.sync_mode}
    if stream.namespace:
        fields["namespace"] = stream.namespace
    if stream.cursor:
        fields["cursor"] = stream.cursor
    if stream.primary_key:
        fields["primary_key"] = sorted(stream.primary_key)
    fields["fields"] = _selection(connection, stream.name, stream.fields)
    return fields


def _selection(connection: Connection, stream: str, names: Iterable[str]) -> Any:
    """Return the selected fields; "all" if none or all are named, as servers keep no list then."""
    chosen = sorted(names)
    recorded = recorded_stream(connection.source.connector, stream) or {}
    every = recorded.get("json_schema", {}).get("properties") or {}
    return "all" if set(chosen) in (set(), set(every)) else chosen


def _namespace_of(connection: Mapping[str, Any]) -> str:
    """Return the schema that Airbyte's connection writes to, or a note whose default it is."""
    kind = connection.get("namespaceDefinition") or "destination"
    if kind == "custom_format":
        return str(connection.get("namespaceFormat") or "")
    return f"<the {kind}'s>"


def _unrecorded(connection: Connection) -> Iterator[str]:
    """Yield a line if streams are not recorded, without which the location does not load."""
    connector = connection.source.connector
    names = [s.name for s in connection.streams if recorded_stream(connector, s.name) is None]
    if names:
        options = " ".join(f"--stream {name}" for name in names)
        yield (
            f"the location does not load before the columns of {', '.join(names)} are recorded: "
            f"pipe the connector's `discover` into `ingestion record {connector} {options}`"
        )


def _schedule_words(schedule: Literal["manual"] | Cron | Basic) -> str:
    """Return a declared schedule as a plan shows it."""
    match schedule:
        case Cron(expression):
            return _cron_words(expression)
        case Basic(timing):
            return f"basic {timing}"
    return schedule


def _schedule_of(connection: Mapping[str, Any], declared: object) -> str:
    """Return the schedule of Airbyte's connection as a plan shows it.

    Beside a declared "manual", the kind of schedule is enough.
    """
    schedule = connection.get("schedule") or {}
    kind = schedule.get("scheduleType") or "manual"
    match "manual" if declared == "manual" else kind:
        case "cron":
            return _cron_words(str(schedule.get("cronExpression") or ""))
        case "basic":
            return f"basic {schedule.get('basicTiming') or ''}".rstrip()
    return str(kind)


def _cron_words(expression: str) -> str:
    """Return a Quartz expression with its time zone, which Airbyte adds if it has none."""
    words = expression.split()
    # A seventh word is a year or a time zone. Days and months, which have letters, stand before it.
    if len(words) in (6, 7) and not (len(words) == 7 and re.search("[A-Za-z]", words[6])):
        words.append("UTC")
    return " ".join(["cron", *words])


def _refuse_basic(connection: Connection, actual: str | None) -> None:
    """Raise `PlanError` if Airbyte would have to be given a schedule that its API cannot set."""
    words = _schedule_words(connection.schedule)
    if isinstance(connection.schedule, Basic) and words != actual:
        raise PlanError(
            f"connection {connection.name_in_airbyte!r} has the schedule {words!r} in "
            f"connections.py{f' and {actual!r} in Airbyte' if actual else ''}: Airbyte's public "
            'API cannot set this kind; declare a Cron or "manual", or set it in Airbyte\'s UI'
        )


def _stream_changes(connection: Connection, actual: Mapping[str, Any]) -> Iterable[Change]:
    synced = _selected(actual)
    for stream in connection.streams:
        path = ("streams", stream.name)
        if stream.name not in synced:
            yield from added(stream_fields(connection, stream), path, {})
            continue
        old = _fields_of(synced[stream.name])
        old["fields"] = _selection(connection, stream.name, old["fields"])
        for name, new in stream_fields(connection, stream).items():
            if old[name] != new:
                yield Change("~", (*path, name), old[name], new)
    for name in sorted(set(synced) - {s.name for s in connection.streams}):
        yield Change("-", ("streams", name), _fields_of(synced[name])["sync_mode"])


def _selected(connection: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the streams that Airbyte's connection syncs, by name."""
    entries = (connection.get("configurations") or {}).get("streams") or []
    return {e["name"]: e for e in entries if e.get("selected", True)}


def _fields_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stream as the server has it, with the keys of `stream_fields`."""
    chosen = sorted(".".join(one["fieldPath"]) for one in entry.get("selectedFields") or [])
    return {
        "sync_mode": entry.get("syncMode") or "full_refresh_overwrite",
        "namespace": entry.get("namespace") or "",
        "cursor": ".".join(entry.get("cursorField") or []),
        "primary_key": sorted(".".join(path) for path in entry.get("primaryKey") or []),
        "fields": chosen,
    }
