# ruff: noqa: N815 - fields have the names of Airbyte's API
"""The part of Airbyte's internal API, `/api/v1`, that clients call.

dagster-airbyte reads a connection's catalog here, and ingestion reads why a job failed, because the
public API has no field for that. Airbyte 1.7 and later do not answer here. With `--no-internal-api`
this server does not either.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from devstack.airbyte.catalog import internal_catalog
from devstack.airbyte.errors import not_found
from devstack.airbyte.jobs import JobRunner
from devstack.airbyte.registry import Registry
from devstack.airbyte.store import Store, StoredJob

_NAMESPACE_DEFINITIONS = {"custom_format": "customformat"}
# Statuses that have another name in the internal API than in the public one.
_ATTEMPT_STATUS = {"cancelled": "failed"}


class ConnectionIdBody(BaseModel):
    connectionId: UUID


class JobIdBody(BaseModel):
    id: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


def internal_router(store: Store, registry: Registry, runner: JobRunner) -> APIRouter:
    """Return the routes, without `/api/v1`."""
    router = APIRouter(tags=["internal"])

    @router.post("/connections/get")
    def connection(body: ConnectionIdBody) -> dict[str, Any]:
        one = store.connection(body.connectionId)
        source = store.actor("source", one.source_id) if one else None
        connector = registry.find("source", type=source.type) if source else None
        if one is None or connector is None:
            raise not_found("connection", body.connectionId)
        settings = one.settings
        definition = settings["namespaceDefinition"]
        answer = {
            "connectionId": str(one.id),
            "name": settings["name"],
            "namespaceDefinition": _NAMESPACE_DEFINITIONS.get(definition, definition),
            "prefix": settings["prefix"],
            "sourceId": str(one.source_id),
            "destinationId": str(one.destination_id),
            "workspaceId": str(one.workspace_id),
            "status": settings["status"],
            "scheduleType": settings["schedule"]["scheduleType"],
            "operationIds": [],
            "syncCatalog": internal_catalog(connector, settings["streams"]),
        }
        if "namespaceFormat" in settings:
            answer["namespaceFormat"] = settings["namespaceFormat"]
        return answer

    @router.post("/jobs/get")
    def job(body: JobIdBody) -> dict[str, Any]:
        one = store.job(body.id)
        if one is None:
            raise not_found("job", body.id)
        logs = {"logType": "formatted", "logs": {"logLines": runner.log_lines(one.id)}}
        return {"job": _job(one), "attempts": [{"attempt": _attempt(one), **logs}]}

    return router


def _job(job: StoredJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "configType": job.type,
        "configId": str(job.connection_id),
        "createdAt": int(job.created_at.timestamp()),
        "updatedAt": int(job.updated_at.timestamp()),
        "status": job.status,
    }


def _attempt(job: StoredJob) -> dict[str, Any]:
    attempt: dict[str, Any] = {
        "id": 0,
        "status": _ATTEMPT_STATUS.get(job.status, job.status),
        "createdAt": int(job.created_at.timestamp()),
        "updatedAt": int(job.updated_at.timestamp()),
        "bytesSynced": job.bytes,
        "recordsSynced": job.rows,
    }
    if job.failure is not None:
        attempt["failureSummary"] = {
            "failures": [_failure(job.failure, int(job.updated_at.timestamp() * 1000))],
            "partialSuccess": job.rows > 0,
        }
    return attempt


def _failure(failure: dict[str, Any], timestamp: int) -> dict[str, Any]:
    """Return a failure with Airbyte's names for its parts, without the empty ones."""
    parts = {
        "failureOrigin": failure.get("origin"),
        "failureType": failure.get("failure_type"),
        "externalMessage": failure.get("message"),
        "internalMessage": failure.get("internal_message"),
        "stacktrace": failure.get("stacktrace"),
    }
    return {name: value for name, value in parts.items() if value} | {"timestamp": timestamp}
