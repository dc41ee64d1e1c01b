# ruff: noqa: N803, A001, A002 - parameters have the names of Airbyte's API
"""Sources and destinations, which have the same operations."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from devstack.airbyte import configuration as config
from devstack.airbyte import models
from devstack.airbyte.errors import not_found, unprocessable
from devstack.airbyte.jobs import JobRunner
from devstack.airbyte.pages import page
from devstack.airbyte.registry import Connector, Kind, Registry
from devstack.airbyte.store import Actor, Store

_MODELS: dict[Kind, tuple[Any, Any]] = {
    "source": (models.Source, models.Sources),
    "destination": (models.Destination, models.Destinations),
}


def actor_router(kind: Kind, store: Store, registry: Registry, runner: JobRunner) -> APIRouter:
    """Return the routes of `/sources` or `/destinations`."""
    service = _Actors(kind, store, registry, runner)
    one, many = _MODELS[kind]
    router = APIRouter(prefix=f"/{kind}s", tags=[f"{kind.capitalize()}s"])

    @router.get("", response_model=many, response_model_exclude_none=True)
    def listed(
        request: Request,
        workspaceIds: Annotated[list[UUID] | None, Query()] = None,
        includeDeleted: bool = False,  # noqa: ARG001 - what is deleted is gone
        limit: models.Limit = 20,
        offset: models.Offset = 0,
    ) -> dict[str, Any]:
        found = store.actors(kind, workspaceIds or None, limit + 1, offset)
        return page(request, [service.shown(actor) for actor in found], limit, offset)

    @router.post("", response_model=one)
    def create(body: models.ActorCreate) -> dict[str, Any]:
        return service.shown(service.create(body))

    @router.get("/{id}", response_model=one)
    def get(id: UUID) -> dict[str, Any]:
        return service.shown(service.stored(id))

    @router.patch("/{id}", response_model=one)
    def patch(id: UUID, body: models.ActorPatch) -> dict[str, Any]:
        actor = service.stored(id)
        changed = config.merged(actor.configuration, body.configuration or {})
        return service.shown(service.change(actor, body.name or actor.name, changed))

    @router.put("/{id}", response_model=one)
    def put(id: UUID, body: models.ActorPut) -> dict[str, Any]:
        return service.shown(service.change(service.stored(id), body.name, body.configuration))

    @router.delete("/{id}", status_code=204)
    def delete(id: UUID) -> Response:
        service.delete(id)
        return Response(status_code=204)

    return router


class _Actors:
    """The operations on one kind of actor: on sources or on destinations."""

    def __init__(self, kind: Kind, store: Store, registry: Registry, runner: JobRunner) -> None:
        self._kind = kind
        self._type_field = f"{kind}Type"
        self._store = store
        self._registry = registry
        self._runner = runner

    def stored(self, id: UUID) -> Actor:
        actor = self._store.actor(self._kind, id)
        if actor is None:
            raise not_found(self._kind, id)
        return actor

    def create(self, body: models.ActorCreate) -> Actor:
        if all(one.id != body.workspaceId for one in self._store.workspaces()):
            raise not_found("workspace", body.workspaceId)
        connector = self._connector(body)
        configuration = self._checked(connector, body.configuration, {})
        return self._store.add_actor(
            self._kind, body.workspaceId, connector.type, body.name, configuration
        )

    def change(self, actor: Actor, name: str, configuration: dict[str, Any]) -> Actor:
        connector = self._known(actor.type)
        given_type = configuration.get(self._type_field, actor.type)
        if given_type != actor.type:
            raise unprocessable(f"a {self._kind} keeps its type: this one is {actor.type!r}")
        checked = self._checked(connector, configuration, actor.configuration)
        changed = self._store.change_actor(actor.id, name, checked)
        if changed is None:
            raise not_found(self._kind, actor.id)
        return changed

    def delete(self, id: UUID) -> None:
        """Delete it and, as Airbyte does, the connections that use it; cancel their syncs."""
        actor = self.stored(id)
        for connection in self._store.connections_of_actor(actor.id):
            self._runner.cancel_connection(connection.id)
        self._store.remove_actor(actor.id)

    def shown(self, actor: Actor) -> dict[str, Any]:
        """Return the actor as clients see it, without secrets."""
        connector = self._known(actor.type)
        return {
            f"{self._kind}Id": actor.id,
            "name": actor.name,
            self._type_field: actor.type,
            "definitionId": connector.definitionId,
            "workspaceId": actor.workspace_id,
            "configuration": config.masked(connector.specification, actor.configuration),
            "createdAt": int(actor.created_at.timestamp()),
        }

    def _connector(self, body: models.ActorCreate) -> Connector:
        type = body.configuration.get(self._type_field)
        if type is None and body.definitionId is None:
            raise unprocessable(f"one of configuration.{self._type_field}, definitionId is needed")
        if type is not None and not isinstance(type, str):
            raise unprocessable(f"configuration.{self._type_field} must be a text")
        connector = self._registry.find(self._kind, type=type, id=body.definitionId)
        if connector is None:
            known = ", ".join(sorted(one.type for one in self._registry.of_kind(self._kind)))
            raise unprocessable(f"this server has no such {self._kind}; it has: {known}")
        return connector

    def _known(self, type: str) -> Connector:
        connector = self._registry.find(self._kind, type=type)
        if connector is None:
            raise unprocessable(f"this server has no {self._kind} of type {type!r} any more")
        return connector

    def _checked(
        self, connector: Connector, given: dict[str, Any], stored: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the configuration to store: valid, without its type, nulls and masks."""
        given = {name: value for name, value in given.items() if name != self._type_field}
        configuration: dict[str, Any] = config.unmasked(config.without_nulls(given), stored)
        config.check(connector.specification, configuration)
        return configuration
