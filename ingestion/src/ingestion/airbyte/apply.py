"""Make Airbyte as declared, or delete what is declared.

Before each step, apply reads what Airbyte has now. An interrupted apply is therefore finished by
running it again. Only a creation must not happen twice: if the answer to it was lost, the name is
looked up before anything is created again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from ingestion.airbyte.client import AirbyteApi, Kind
from ingestion.airbyte.configuration import Configuration
from ingestion.airbyte.declaration import Connection, Cron, Destination, Source, Stream
from ingestion.airbyte.plan import (
    ObjectPlan,
    actors,
    configurations,
    plan_actor,
    plan_connection,
    refuse_second_writer,
    unique,
)
from ingestion.airbyte.secrets import DigestStore, digest
from ingestion.errors import AirbyteError

__all__ = ["apply", "connection_id_of", "destroy"]

ROUNDS: Final = 5

Report = Callable[[ObjectPlan], None]
"""Called with the plan of each object that was changed."""
DeletionReport = Callable[[Kind, str, bool], None]
"""Called with the kind and name of each object, and true if it was deleted, false if it stays."""


def apply(
    api: AirbyteApi,
    connections: Iterable[Connection],
    env: Mapping[str, str],
    digests: DigestStore,
    report: Report | None = None,
) -> None:
    """Carry out the plan, one object after the other, and report each one that was changed.

    Raise what `make_plan` raises, and `AirbyteError` if Airbyte refuses a change. What was done
    before stays, and the next apply goes on from there.
    """
    connections = tuple(connections)
    report = report or (lambda _: None)
    # Look up all configurations first, so that an error in one is raised before anything changes.
    wanted = configurations(connections, env)
    ids = {
        (kind, name): _apply_actor(api, kind, actor, configuration, digests, report)
        for (kind, name), (actor, configuration) in wanted.items()
    }
    for connection in connections:
        _apply_connection(
            api,
            connection,
            ids["source", connection.source.name],
            ids["destination", connection.destination.name],
            connections,
            report,
        )


def connection_id_of(api: AirbyteApi, connection: Connection) -> str | None:
    """Look up the connection's id in Airbyte by its name; None if it is not there."""
    name = connection.name_in_airbyte
    found = unique("connection", name, api.named("connection", name))
    return str(found["connectionId"]) if found else None


def _apply_actor(
    api: AirbyteApi,
    kind: Kind,
    actor: Source | Destination,
    configuration: Configuration,
    digests: DigestStore,
    report: Report,
) -> str:
    """Apply one source or destination, and return its id."""
    typed = {f"{kind}Type": actor.type, **configuration.values}
    for _ in _rounds(api, kind, actor.name):
        actual = unique(kind, actor.name, api.named(kind, actor.name))
        plan = plan_actor(kind, actor, configuration, actual, digests)
        if plan.empty and plan.id:
            _remember_adopted(plan.id, configuration, digests)
            return plan.id
        id_ = plan.id
        if id_ is None:
            body = {"name": actor.name, "workspaceId": api.workspace_id, "configuration": typed}
            id_ = _create_once(api, kind, actor.name, body)
            if id_ is None:
                continue
        elif plan.removes:
            # An update merges, so what has to be removed would stay. A replacement keeps the id.
            api.replace(kind, id_, {"name": actor.name, "configuration": typed})
        else:
            api.update(kind, id_, {"configuration": typed})
        # Written after the change: if apply ends in between, the next one sets the secrets again.
        if configuration.secrets:
            digests.write(id_, {path: digest(s) for path, s in configuration.secrets.items()})
        report(plan)
        return id_
    raise AssertionError("unreachable: the rounds end with an error")


def _remember_adopted(id_: str, configuration: Configuration, digests: DigestStore) -> None:
    """Keep the digests of adopted secrets, so that a later value of one is noticed."""
    if configuration.adopted:
        known = digests.read(id_)
        if new := configuration.adopted - set(known):
            made = {path: digest(configuration.secrets[path]) for path in sorted(new)}
            digests.write(id_, {**known, **made})


def _apply_connection(
    api: AirbyteApi,
    connection: Connection,
    source_id: str,
    destination_id: str,
    declared: Iterable[Connection],
    report: Report,
) -> None:
    """Apply one connection, whose source and destination have these ids."""
    name = connection.name_in_airbyte
    for _ in _rounds(api, "connection", name):
        every = list(api.every("connection"))
        actual = unique("connection", name, [one for one in every if one.get("name") == name])
        plan = plan_connection(connection, actual, source_id, destination_id)
        if plan.empty:
            return
        body = connection_body(connection)
        if plan.id is None:
            refuse_second_writer(connection, source_id, destination_id, every, declared)
            body |= {"sourceId": source_id, "destinationId": destination_id}
            if _create_once(api, "connection", name, body) is None:
                continue
        else:
            api.update("connection", plan.id, body)
        report(plan)
        return


def connection_body(connection: Connection) -> dict[str, Any]:
    """Return a connection as the public API wants it, without its source and destination."""
    body: dict[str, Any] = {
        "name": connection.name_in_airbyte,
        "status": "active",
        "namespaceDefinition": connection.namespace_definition,
        "prefix": connection.prefix,
        "configurations": {"streams": [_stream_body(s) for s in connection.streams]},
    }
    if connection.namespace_definition == "custom_format":
        body["namespaceFormat"] = connection.namespace
    match connection.schedule:
        case Cron(expression):
            body["schedule"] = {"scheduleType": "cron", "cronExpression": expression}
        case "manual":
            body["schedule"] = {"scheduleType": "manual"}
    return body


def _stream_body(stream: Stream) -> dict[str, Any]:
    body: dict[str, Any] = {"name": stream.name, "syncMode": stream.sync_mode}
    if stream.namespace:
        body["namespace"] = stream.namespace
    if stream.cursor:
        body["cursorField"] = stream.cursor.split(".")
    if stream.primary_key:
        body["primaryKey"] = [name.split(".") for name in stream.primary_key]
    if stream.fields:
        body["selectedFields"] = [{"fieldPath": [name]} for name in stream.fields]
    return body


def _rounds(api: AirbyteApi, kind: Kind, name: str) -> Iterator[None]:
    """Yield a few times with random pauses in between, then raise `AirbyteError`.

    Another round is needed if somebody else creates the same thing at the same time.
    """
    for _ in range(ROUNDS):
        yield
        api.pause(random.uniform(0.2, 2.0))  # noqa: S311  (nothing secret about it)
    raise AirbyteError(
        f"somebody else is creating {kind} {name!r} at the same time: run this again"
    )


def _create_once(api: AirbyteApi, kind: Kind, name: str, body: Mapping[str, Any]) -> str | None:
    """Create an object and return its id; None if the caller has to look at Airbyte again.

    That is so if Airbyte already has an object of that name: our own, if the answer to the creation
    was lost, or somebody else's.
    """
    try:
        made = str(api.create(kind, body)[f"{kind}Id"])
    except AirbyteError as error:
        if (error.ambiguous or error.status == 409) and api.named(kind, name):
            return None
        raise
    if len(api.named(kind, name)) > 1:
        # Delete our own: nothing uses it yet, while the other one may be in use. If both sides
        # delete theirs, both try again after a random pause.
        api.delete(kind, made)
        return None
    return made


def destroy(
    api: AirbyteApi,
    connections: Iterable[Connection],
    digests: DigestStore,
    report: DeletionReport,
) -> None:
    """Delete the declared connections, then the sources and destinations that nothing else uses.

    Report each object that was deleted, and each that stays because another connection uses it.
    """
    connections = tuple(connections)
    for connection in connections:
        id_ = connection_id_of(api, connection)
        if id_ is not None:
            api.delete("connection", id_)
            report("connection", connection.name_in_airbyte, True)
    in_use = {
        str(entry[f"{kind}Id"])
        for entry in api.every("connection")
        for kind in ("source", "destination")
    }
    done: set[tuple[Kind, str]] = set()
    for connection in connections:
        for kind, actor in actors(connection):
            if (kind, actor.name) in done:
                continue
            done.add((kind, actor.name))
            actual = unique(kind, actor.name, api.named(kind, actor.name))
            if actual is None:
                continue
            id_ = str(actual[f"{kind}Id"])
            if id_ in in_use:
                report(kind, actor.name, False)
                continue
            api.delete(kind, id_)
            digests.forget(id_)
            report(kind, actor.name, True)
