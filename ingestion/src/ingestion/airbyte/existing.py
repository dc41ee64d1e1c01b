"""What an Airbyte has, as declarations that have no differences from it.

Each connection is declared on its own. If a declaration cannot hold it, it is left out, with the
reason. Nothing is changed in Airbyte.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pydantic
from freshline import FreshlineError, stream_key

from ingestion.airbyte.client import AirbyteApi, Kind
from ingestion.airbyte.compare import configuration_changes
from ingestion.airbyte.configuration import (
    Configuration,
    declared_secrets,
    refuse_by_specification,
)
from ingestion.airbyte.declaration import (
    Basic,
    Connection,
    Cron,
    Destination,
    Secret,
    Source,
    Stream,
    check_connections,
    default_schema,
)
from ingestion.airbyte.keys import DEDUPLICATING
from ingestion.airbyte.plan import plan_connection
from ingestion.airbyte.python_text import free_name, identifier, slug
from ingestion.airbyte.record import connector_spec, record_streams, recorded_stream
from ingestion.airbyte.specification import is_secret
from ingestion.errors import AirbyteError, DeclarationError

__all__ = ["Existing", "read_existing", "report_lines"]

KINDS: Final[tuple[Kind, ...]] = ("connection", "source", "destination")

_MASK: Final = re.compile(r"\*{3,}")
"""How Airbyte shows a secret."""
_LOOKS_SECRET: Final = re.compile(
    r"passw|secret|token|credential|private_?key|api_?key|access_?key", re.IGNORECASE
)
"""Names of settings that may be secrets. Only for connectors whose specification is not recorded:
Airbyte masks what the specification marks, and some connectors forget to mark theirs."""
_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s:@]*:[^/\s@]+@")

_STREAM_SETTINGS: Final = frozenset(
    {"name", "namespace", "syncMode", "cursorField", "primaryKey", "selectedFields", "selected"}
)
"""What a declared stream can hold. Others (mappers, files) would be lost by an apply."""


@dataclass(frozen=True)
class Existing:
    """What an Airbyte has."""

    connections: tuple[Connection, ...]
    """Those that can be declared, sorted by their names in Airbyte."""
    variables: Mapping[str, str]
    """The variables to set, each with the secret that it is for."""
    left_out: tuple[str, ...]
    """A line for each object that is not declared: what it is, and why."""
    recorded: tuple[str, ...]
    """A line for each connector whose streams were recorded."""


class _CannotDeclareError(Exception):
    """A declaration cannot hold this object; the message says why."""


def read_existing(api: AirbyteApi) -> Existing:
    """Read what Airbyte has, and record the streams whose schemas its internal API gives.

    Raise `AirbyteError` if Airbyte cannot be read.
    """
    return _Reader(api).read()


def report_lines(existing: Existing) -> Iterator[str]:
    """Yield what people have to know about an import: what is left out, and what to do now."""
    yield from existing.recorded
    for line in existing.left_out:
        yield f"left out: {line}"
    if existing.variables:
        yield "Set these variables, in .env or the environment, to what Airbyte has:"
        for name, secret in existing.variables.items():
            yield f"    {name}: {secret}"
    missing: dict[str, dict[str, None]] = {}
    for connection in existing.connections:
        for stream in connection.streams:
            if recorded_stream(connection.source.connector, stream.name) is None:
                missing.setdefault(connection.source.connector, {})[stream.name] = None
    if missing:
        yield "Record these streams, whose columns the assets need (see `ingestion record --help`):"
        for connector, streams in missing.items():
            options = " ".join(f"--stream {name}" for name in streams)
            yield f"    ingestion record {connector} {options}"
    yield f"Connections: {len(existing.connections)}. Left out: {len(existing.left_out)}."


@dataclass
class _Reader:
    api: AirbyteApi
    variables: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    declared: list[Connection] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    """The connection that writes each table."""
    actors: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The fields of the sources and destinations that were declared so far, by id."""
    by_id: dict[tuple[Kind, str], dict[str, Any]] = field(default_factory=dict)
    times: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    """How many objects have a kind and a name."""
    has_internal_api: bool = True

    def read(self) -> Existing:
        every = {kind: list(self.api.every(kind)) for kind in KINDS}
        self.by_id = {
            (kind, str(entry[f"{kind}Id"])): entry for kind in KINDS for entry in every[kind]
        }
        self.times = Counter((kind, str(entry["name"])) for kind in KINDS for entry in every[kind])
        for entry in sorted(every["connection"], key=lambda one: str(one["name"])):
            try:
                self._declare(entry)
            except _CannotDeclareError as reason:
                self._leave_out("connection", entry, str(reason))
        for kind in KINDS[1:]:
            used = {str(entry[f"{kind}Id"]) for entry in every["connection"]}
            for entry in every[kind]:
                if str(entry[f"{kind}Id"]) not in used:
                    self._leave_out(kind, entry, "no connection uses it")
        in_use = {
            secret.name
            for one in self.declared
            for actor in (one.source, one.destination)
            for _, secret in declared_secrets(actor.configuration)
        }
        return Existing(
            tuple(self.declared),
            {name: what for name, what in self.variables.items() if name in in_use},
            tuple(self.left_out),
            tuple(self.recorded),
        )

    def _leave_out(self, kind: Kind, entry: Mapping[str, Any], reason: str) -> None:
        self.left_out.append(f"{kind} {entry['name']!r} ({entry[f'{kind}Id']}): {reason}")

    # --- connections --------------------------------------------------------------------------

    def _declare(self, entry: Mapping[str, Any]) -> None:
        """Add a connection to the declared ones; raise `_CannotDeclareError` if it cannot be."""
        self._refuse_second("connection", entry)
        status = entry.get("status") or "active"
        if status != "active":
            raise _CannotDeclareError(f"it is {status}, and a declared connection is active")
        selected = [
            one
            for one in (entry.get("configurations") or {}).get("streams") or []
            if one.get("selected", True)
        ]
        if not selected:
            raise _CannotDeclareError("it syncs no stream")
        source = self._actor("source", str(entry["sourceId"]))
        destination = self._actor("destination", str(entry["destinationId"]))
        name = identifier(str(entry["name"]), "connection", {one.name for one in self.declared})
        try:
            connection = Connection(
                name=name,
                airbyte_name="" if name == entry["name"] else entry["name"],
                source=Source(**source),
                destination=Destination(**destination),
                namespace=_namespace(entry, destination["configuration"], selected),
                namespace_definition=entry.get("namespaceDefinition") or "destination",
                prefix=entry.get("prefix") or "",
                streams=tuple(_stream(one) for one in selected),
                schedule=_schedule(entry.get("schedule") or {}),
            )
            tables = [
                stream_key(connection.namespace, stream.name, prefix=connection.prefix)
                for stream in connection.streams
            ]
            refuse_by_specification(connection.source)
            refuse_by_specification(connection.destination)
            self._record(connection, str(entry["connectionId"]))
            check_connections((connection,))
        except pydantic.ValidationError as error:
            raise _CannotDeclareError(_words(error)) from None
        except (DeclarationError, FreshlineError) as error:
            raise _CannotDeclareError(str(error)) from None
        plan = plan_connection(connection, entry, entry["sourceId"], entry["destinationId"])
        if not plan.empty:
            places = ", ".join(".".join(change.path) for change in plan.changes)
            raise _CannotDeclareError(f"a declaration cannot hold its {places}")
        for table in map(str, tables):
            if table in self.tables:
                raise _CannotDeclareError(
                    f"it writes the table {table}, as connection {self.tables[table]!r} does"
                )
        self.tables |= dict.fromkeys(map(str, tables), connection.name_in_airbyte)
        self.declared.append(connection)

    def _refuse_second(self, kind: Kind, entry: Mapping[str, Any]) -> None:
        """Raise `_CannotDeclareError` if several objects of this kind have the name."""
        times = self.times[kind, str(entry["name"])]
        if times > 1:
            raise _CannotDeclareError(
                f"Airbyte has {times} {kind}s named {entry['name']!r}: rename all but one there"
            )

    def _record(self, connection: Connection, id_: str) -> None:
        """Record the streams that are not recorded yet, if the internal API has their schemas."""
        connector = connection.source.connector
        wanted = [s.name for s in connection.streams if recorded_stream(connector, s.name) is None]
        if not wanted or not self.has_internal_api:
            return
        try:
            catalog = self.api.catalog(id_)
        except AirbyteError:
            self.has_internal_api = False
            return
        found = [one for one in catalog if one["name"] in wanted]
        if found:
            self.recorded.append(record_streams(connector, found))

    # --- sources and destinations -------------------------------------------------------------

    def _actor(self, kind: Kind, id_: str) -> dict[str, Any]:
        """Return the fields of a declared source or destination.

        Raise `_CannotDeclareError` if it cannot be declared.
        """
        if id_ in self.actors:
            return self.actors[id_]
        entry = self.by_id.get((kind, id_))
        if entry is None:
            raise _CannotDeclareError(f"its {kind} ({id_}) is not in this workspace")
        self._refuse_second(kind, entry)
        connector = f"{kind}-{entry[f'{kind}Type']}"
        old = {k: v for k, v in (entry.get("configuration") or {}).items() if k != f"{kind}Type"}
        secrets = _Secrets(connector, f"{kind} {entry['name']}", self.variables)
        configuration: dict[str, Any] = secrets.hidden(old, ())
        paths = {path: secret.name for path, secret in declared_secrets(configuration)}
        changes = configuration_changes(
            connector, Configuration(configuration, paths, checked=True), old
        )
        if places := ", ".join(".".join(change.path) for change in changes):
            raise _CannotDeclareError(
                f"{kind} {entry['name']!r}: a declaration cannot hold its {places}"
            )
        self.actors[id_] = {
            "name": str(entry["name"]),
            "type": str(entry[f"{kind}Type"]),
            "configuration": configuration,
        }
        return self.actors[id_]


@dataclass(frozen=True)
class _Secrets:
    """Puts the names of variables in place of the secrets of one source or destination."""

    connector: str
    owner: str
    variables: dict[str, str]
    """Every variable so far, with the secret that it is for."""

    def hidden(self, value: Any, path: tuple[str, ...]) -> Any:
        if path and self._is_secret(value, path):
            return Secret(self._variable(path), adopted=True)
        if isinstance(value, Mapping):
            return {
                name: self.hidden(inner, (*path, name))
                for name, inner in value.items()
                # A secret that is not set needs no variable.
                if inner is not None
                and not (inner == "" and is_secret(self.connector, (*path, name)))
            }
        if isinstance(value, list):
            return [self.hidden(v, (*path, str(i))) for i, v in enumerate(value)]
        return value

    def _is_secret(self, value: Any, path: tuple[str, ...]) -> bool:
        if is_secret(self.connector, path):
            return True
        if isinstance(value, Mapping):
            return set(value) == {"_secret"}  # some servers show where they keep it
        if not isinstance(value, str) or not value:
            return False
        unknown = connector_spec(self.connector) is None and _LOOKS_SECRET.search(path[-1])
        return bool(_MASK.fullmatch(value) or _PASSWORD_IN_URL.search(value) or unknown)

    def _variable(self, path: tuple[str, ...]) -> str:
        name = free_name(slug(" ".join((self.owner, *path))).upper(), self.variables)
        self.variables[name] = f"{self.owner}, {'.'.join(path)}"
        return name


def _namespace(
    entry: Mapping[str, Any], destination: Mapping[str, Any], streams: list[Mapping[str, Any]]
) -> str:
    """Return the one schema that all streams of a connection land in."""
    kind = entry.get("namespaceDefinition") or "destination"
    if kind == "custom_format":
        written = str(entry.get("namespaceFormat") or "")
        if "$" in written or not written:
            raise _CannotDeclareError(
                f"its namespace is the format {written!r}, and a declaration needs a name"
            )
        return written
    default = default_schema(destination)
    every = {(kind == "source" and stream.get("namespace")) or default for stream in streams}
    if None in every:
        raise _CannotDeclareError("the default schema of its destination is not known")
    if len(every) > 1:
        raise _CannotDeclareError(
            f"its streams land in several namespaces ({', '.join(sorted(map(str, every)))}): make "
            "it a connection for each"
        )
    return str(every.pop())


def _stream(entry: Mapping[str, Any]) -> Stream:
    """Return a stream as declared; raise `_CannotDeclareError` if a declaration cannot hold it."""
    more = sorted(name for name in set(entry) - _STREAM_SETTINGS if entry[name])
    if more:
        raise _CannotDeclareError(
            f"a declaration cannot hold the {', '.join(more)} of stream {entry['name']!r}"
        )
    mode = entry.get("syncMode") or "full_refresh_overwrite"
    key = entry.get("primaryKey") or [] if mode in DEDUPLICATING else []
    cursor = entry.get("cursorField") or [] if mode.startswith("incremental") else []
    fields = [one["fieldPath"] for one in entry.get("selectedFields") or []]
    if any(len(path) > 1 for path in fields):
        raise _CannotDeclareError(
            f"a declaration cannot hold the nested fields that stream {entry['name']!r} selects"
        )
    try:
        return Stream.model_validate(
            {
                "name": entry["name"],
                "namespace": entry.get("namespace") or "",
                "sync_mode": mode,
                "cursor": ".".join(cursor) or None,
                "primary_key": tuple(".".join(path) for path in key),
                "fields": tuple(name for (name,) in fields),
            }
        )
    except pydantic.ValidationError as error:
        raise _CannotDeclareError(f"stream {entry['name']!r}: {_words(error)}") from None


def _schedule(schedule: Mapping[str, Any]) -> Literal["manual"] | Cron | Basic:
    kind = schedule.get("scheduleType") or "manual"
    match kind:
        case "manual":
            return "manual"
        case "cron":
            return Cron(str(schedule.get("cronExpression") or ""))
        case "basic":
            return Basic(str(schedule.get("basicTiming") or ""))
    raise _CannotDeclareError(f"a declaration cannot hold its schedule ({kind})")


def _words(error: pydantic.ValidationError) -> str:
    """Return the first fault that pydantic found, and what was given."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    if not place:
        return fault["msg"]
    return f"its {place} is {fault['input']!r}: {fault['msg']}"
