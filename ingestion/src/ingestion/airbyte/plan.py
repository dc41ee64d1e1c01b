"""What would have to change in Airbyte for it to be as declared. Reads, compares, changes nothing.

Only what is declared is compared, and what cannot mean a difference is not one: the order of
streams, nulls, defaults that the server fills in, how numbers are written, masked secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingestion.airbyte.client import AirbyteApi, Kind
from ingestion.airbyte.compare import Change, added, configuration_changes, secret_changes
from ingestion.airbyte.configuration import Configuration, resolve
from ingestion.airbyte.declaration import Connection, Destination, Source, Stream
from ingestion.airbyte.record import stream_schema
from ingestion.airbyte.secrets import DigestStore
from ingestion.errors import PlanError

__all__ = [
    "Change",
    "ObjectPlan",
    "Plan",
    "make_plan",
    "plan_actor",
    "plan_connection",
    "refuse_double",
]


@dataclass(frozen=True)
class ObjectPlan:
    """What is to happen with one source, destination or connection."""

    kind: Kind
    name: str
    id: str | None
    """None: it is to be created."""
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return self.id is not None and not self.changes

    @property
    def removes(self) -> bool:
        """Whether something must go from the configuration, which an update cannot do."""
        return any(c.operation == "-" and c.path[0] == "configuration" for c in self.changes)


@dataclass(frozen=True)
class Plan:
    objects: tuple[ObjectPlan, ...] = field(default=())

    @property
    def empty(self) -> bool:
        return all(one.empty for one in self.objects)


def make_plan(
    api: AirbyteApi,
    connections: Iterable[Connection],
    env: Mapping[str, str],
    digests: DigestStore,
) -> Plan:
    """The plan for these connections, with the sources and destinations that they use.

    Each problem that makes a plan impossible is a `PlanError`, one of the environment a
    `SettingsError`, one of the declaration a `DeclarationError`.
    """
    connections = tuple(connections)
    wanted = configurations(connections, env)
    state = _State(api)
    objects: dict[tuple[Kind, str], ObjectPlan] = {
        (kind, name): plan_actor(kind, actor, configuration, state.one(kind, name), digests)
        for (kind, name), (actor, configuration) in wanted.items()
    }
    for connection in connections:
        source = objects["source", connection.source.name]
        destination = objects["destination", connection.destination.name]
        there = state.one("connection", connection.name)
        if there is None:
            others = state.every("connection")
            refuse_double(connection, source.id, destination.id, others, connections)
        objects["connection", connection.name] = plan_connection(
            connection, there, source.id, destination.id
        )
    return Plan(tuple(objects.values()))


def configurations(
    connections: Iterable[Connection], env: Mapping[str, str]
) -> dict[tuple[Kind, str], tuple[Source | Destination, Configuration]]:
    """Every source and destination in use, looked up and checked, before anything is asked."""
    return {
        (kind, actor.name): (actor, resolve(actor, env))
        for connection in connections
        for kind, actor in actors(connection)
    }


def actors(connection: Connection) -> tuple[tuple[Kind, Source | Destination], ...]:
    return ("source", connection.source), ("destination", connection.destination)


class _State:
    """What is in Airbyte, each kind listed once."""

    def __init__(self, api: AirbyteApi) -> None:
        self._api = api
        self._entries: dict[Kind, list[dict[str, Any]]] = {}

    def every(self, kind: Kind) -> list[dict[str, Any]]:
        if kind not in self._entries:
            self._entries[kind] = list(self._api.every(kind))
        return self._entries[kind]

    def one(self, kind: Kind, name: str) -> dict[str, Any] | None:
        found = [entry for entry in self.every(kind) if entry.get("name") == name]
        return only(kind, name, found)


def only(kind: Kind, name: str, found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The one entry, or None; `PlanError` if the name is taken more than once."""
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
    there: Mapping[str, Any] | None,
    digests: DigestStore,
) -> ObjectPlan:
    """What a source or destination needs."""
    notes = (
        ()
        if configuration.checked
        else (f"no specification of {actor.connector} is committed: Airbyte alone will check it",)
    )
    if there is None:
        fields = {"type": actor.type, "configuration": dict(configuration.values)}
        return ObjectPlan(
            kind, actor.name, None, tuple(added(fields, (), configuration.secrets)), notes
        )
    type_there = there.get(f"{kind}Type")
    if type_there is not None and type_there != actor.type:
        raise PlanError(
            f"{kind} {actor.name!r} is of type {type_there!r} in Airbyte and {actor.type!r} in "
            "connections.py: a type cannot be changed; give the new one another name"
        )
    id_ = str(there[f"{kind}Id"])
    old = {k: v for k, v in (there.get("configuration") or {}).items() if k != f"{kind}Type"}
    changes = (
        *configuration_changes(actor.connector, configuration, old),
        *secret_changes(configuration, old, digests.read(id_)),
    )
    return ObjectPlan(kind, actor.name, id_, changes, notes)


def plan_connection(
    connection: Connection,
    there: Mapping[str, Any] | None,
    source_id: str | None,
    destination_id: str | None,
) -> ObjectPlan:
    """What a connection needs. The ids are None for what is still to be created."""
    if there is None:
        fields = {
            "source": connection.source.name,
            "destination": connection.destination.name,
            **{k: v for k, v in settings_of(connection).items() if v != ""},
            "streams": {s.name: stream_fields(connection, s) for s in connection.streams},
        }
        return ObjectPlan("connection", connection.name, None, tuple(added(fields, (), {})))
    for kind, id_, declared in (
        ("source", source_id, connection.source.name),
        ("destination", destination_id, connection.destination.name),
    ):
        if there[f"{kind}Id"] != id_:
            raise PlanError(
                f"connection {connection.name!r} has another {kind} in Airbyte than {declared!r}, "
                "and a connection keeps its source and destination for life: give the new one "
                "another name in connections.py, or put the old one back"
            )
    changes: list[Change] = []
    actual = {
        "status": there.get("status") or "active",
        "schedule": (there.get("schedule") or {}).get("scheduleType") or "manual",
        "namespace": _namespace_of(there),
        "prefix": there.get("prefix") or "",
    }
    for name, new in settings_of(connection).items():
        if actual[name] != new:
            changes.append(Change("~", (name,), actual[name], new))
    changes += _stream_changes(connection, there)
    return ObjectPlan("connection", connection.name, str(there["connectionId"]), tuple(changes))


def refuse_double(
    connection: Connection,
    source_id: str | None,
    destination_id: str | None,
    there: Iterable[Mapping[str, Any]],
    declared: Iterable[Connection],
) -> None:
    """`PlanError` if creating it would have two connections of one source write one table.

    Most likely it was renamed in connections.py alone: Airbyte still has it under its old name.
    """
    names = {connection.name, *(one.name for one in declared)}
    target = (source_id, destination_id, connection.namespace, connection.prefix)
    streams = {stream.name for stream in connection.streams}
    for other in there:
        place = (_namespace_of(other), other.get("prefix") or "")
        if (
            other.get("name") not in names
            and (other["sourceId"], other["destinationId"], *place) == target
            and streams & set(_selected(other))
        ):
            raise PlanError(
                f"connection {connection.name!r} would be a second one beside {other['name']!r} "
                f"({other['connectionId']}), which reads the same source into the same tables and "
                "is not declared: if it is the same, rename it in Airbyte, which keeps its state; "
                "else delete it there, or declare another prefix or namespace"
            )


def settings_of(connection: Connection) -> dict[str, str]:
    """A connection's own fields, as a plan shows them."""
    return {
        "status": "active",
        "schedule": connection.schedule,
        "namespace": connection.namespace,
        "prefix": connection.prefix,
    }


def stream_fields(connection: Connection, stream: Stream) -> dict[str, Any]:
    """What is declared of a stream; what is left out is the source's to decide."""
    fields: dict[str, Any] = {"sync_mode": stream.sync_mode}
    if stream.cursor:
        fields["cursor"] = stream.cursor
    if stream.primary_key:
        fields["primary_key"] = sorted(stream.primary_key)
    fields["fields"] = _selection(connection, stream.name, stream.fields)
    return fields


def _selection(connection: Connection, stream: str, names: Iterable[str]) -> Any:
    """The selected fields; "all" when every one is named, as servers keep no list then."""
    chosen = sorted(names)
    every = stream_schema(connection.source.connector, stream).get("properties") or {}
    return "all" if set(chosen) in (set(), set(every)) else chosen


def _namespace_of(there: Mapping[str, Any]) -> str:
    kind = there.get("namespaceDefinition") or "destination"
    if kind == "custom_format":
        return str(there.get("namespaceFormat") or "")
    return f"<the {kind}'s>"


def _stream_changes(connection: Connection, there: Mapping[str, Any]) -> Iterable[Change]:
    actual = _selected(there)
    for stream in connection.streams:
        path = ("streams", stream.name)
        if stream.name not in actual:
            yield from added(stream_fields(connection, stream), path, {})
            continue
        old = _fields_of(actual[stream.name])
        old["fields"] = _selection(connection, stream.name, old["fields"])
        for name, new in stream_fields(connection, stream).items():
            if old[name] != new:
                yield Change("~", (*path, name), old[name], new)
    for name in sorted(set(actual) - {s.name for s in connection.streams}):
        yield Change("-", ("streams", name), _fields_of(actual[name])["sync_mode"])


def _selected(there: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The streams that a connection syncs, by name."""
    entries = (there.get("configurations") or {}).get("streams") or []
    return {e["name"]: e for e in entries if e.get("selected", True)}


def _fields_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A stream as the server has it, in the words of `stream_fields`."""
    chosen = sorted(".".join(one["fieldPath"]) for one in entry.get("selectedFields") or [])
    return {
        "sync_mode": entry.get("syncMode") or "full_refresh_overwrite",
        "cursor": ".".join(entry.get("cursorField") or []),
        "primary_key": sorted(".".join(path) for path in entry.get("primaryKey") or []),
        "fields": chosen,
    }
