# ruff: noqa: N803, A002 - parameters have the names of Airbyte's API
"""Connections: which streams go from which source to which destination, and how."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from devstack.airbyte import models
from devstack.airbyte.catalog import settings_of
from devstack.airbyte.errors import not_found, unprocessable
from devstack.airbyte.jobs import JobRunner
from devstack.airbyte.pages import page
from devstack.airbyte.registry import Registry
from devstack.airbyte.store import Store, StoredConnection

_DEFAULTS: dict[str, Any] = {
    "status": "active",
    "schedule": {"scheduleType": "manual"},
    "namespaceDefinition": "destination",
    "prefix": "",
    "nonBreakingSchemaUpdatesBehavior": "ignore",
    "tags": [],
}


def connection_router(  # noqa: C901 - a list of small functions, not one with branches
    store: Store, registry: Registry, runner: JobRunner
) -> APIRouter:
    """Return the routes of `/connections`."""
    router = APIRouter(prefix="/connections", tags=["Connections"])

    @router.get("", response_model=models.Connections, response_model_exclude_none=True)
    def listed(
        request: Request,
        workspaceIds: Annotated[list[UUID] | None, Query()] = None,
        includeDeleted: bool = False,  # noqa: ARG001 - what is deleted is gone
        limit: models.Limit = 20,
        offset: models.Offset = 0,
    ) -> dict[str, Any]:
        found = store.connections(workspaceIds or None, limit + 1, offset)
        return page(request, [_shown(one) for one in found], limit, offset)

    @router.post("", response_model=models.Connection, response_model_exclude_none=True)
    def create(body: models.ConnectionCreate) -> dict[str, Any]:
        source = store.actor("source", body.sourceId)
        if source is None:
            raise not_found("source", body.sourceId)
        destination = store.actor("destination", body.destinationId)
        if destination is None:
            raise not_found("destination", body.destinationId)
        settings = {
            **_DEFAULTS,
            "name": f"{source.name} → {destination.name}",
            "streams": _streams(source.type, body.configurations),
            **_changes(source.type, body),
        }
        connection = store.add_connection(source.workspace_id, source.id, destination.id, settings)
        if connection is None:
            raise not_found("source", body.sourceId)
        return _shown(connection)

    @router.get("/{id}", response_model=models.Connection, response_model_exclude_none=True)
    def get(id: UUID) -> dict[str, Any]:
        return _shown(_stored(id))

    @router.patch("/{id}", response_model=models.Connection, response_model_exclude_none=True)
    def patch(id: UUID, body: models.ConnectionPatch) -> dict[str, Any]:
        connection = _stored(id)
        source = store.actor("source", connection.source_id)
        if source is None:
            raise not_found("source", connection.source_id)
        settings = {**connection.settings, **_changes(source.type, body)}
        changed = store.change_connection(id, settings)
        if changed is None:
            raise not_found("connection", id)
        return _shown(changed)

    @router.delete("/{id}", status_code=204)
    def delete(id: UUID) -> Response:
        connection = _stored(id)
        runner.cancel_connection(connection.id)
        store.remove_connection(connection.id)
        return Response(status_code=204)

    def _stored(id: UUID) -> StoredConnection:
        connection = store.connection(id)
        if connection is None:
            raise not_found("connection", id)
        return connection

    def _changes(source_type: str, body: models.ConnectionPatch) -> dict[str, Any]:
        """Return the settings that the body changes, as they are stored."""
        given = body.model_dump(mode="json", exclude_none=True)
        changes = {
            name: given[name] for name in (*_DEFAULTS, "name", "namespaceFormat") if name in given
        }
        if body.configurations is not None:
            changes["streams"] = _streams(source_type, body.configurations)
        return changes

    def _streams(type: str, wanted: models.StreamConfigurations | None) -> list[dict[str, Any]]:
        connector = registry.find("source", type=type)
        if connector is None:
            raise unprocessable(f"this server has no source of type {type!r}")
        return settings_of(connector, wanted.streams if wanted is not None else None)

    return router


def _shown(connection: StoredConnection) -> dict[str, Any]:
    settings = {name: value for name, value in connection.settings.items() if name != "streams"}
    return {
        "connectionId": connection.id,
        "sourceId": connection.source_id,
        "destinationId": connection.destination_id,
        "workspaceId": connection.workspace_id,
        "createdAt": int(connection.created_at.timestamp()),
        **settings,
        "configurations": {"streams": connection.settings["streams"]},
    }
