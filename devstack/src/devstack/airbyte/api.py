# ruff: noqa: N803, A002 - parameters have the names of Airbyte's API
"""The HTTP application and its public API, `/api/public/v1`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from pydantic import BaseModel

from devstack.airbyte import actors, models
from devstack.airbyte.auth import TOKEN_SECONDS, Gate
from devstack.airbyte.catalog import properties_of
from devstack.airbyte.connections import connection_router
from devstack.airbyte.errors import (
    install_handlers,
    not_found,
    problem_responses,
    unprocessable,
)
from devstack.airbyte.faults import FaultMiddleware, Switchboard
from devstack.airbyte.internal_api import internal_router
from devstack.airbyte.jobs import JobRunner
from devstack.airbyte.pages import page
from devstack.airbyte.registry import Registry
from devstack.airbyte.store import Store, StoredJob
from devstack.airbyte.timeline import timeline_router

_PUBLIC = "/api/public/v1"
# A Postgres bigint.
JobId = Annotated[int, Path(ge=-(2**63), le=2**63 - 1)]


def create_app(
    store: Store,
    registry: Registry,
    gate: Gate,
    runner: JobRunner,
    switchboard: Switchboard,
    *,
    faults: bool = False,
    internal_api: bool = True,
) -> FastAPI:
    """Return the HTTP application."""
    app = FastAPI(
        title="Embedded Airbyte",
        version="1",
        docs_url=None,
        redoc_url=None,
        # A redirect has no JSON, and after one some clients send a GET instead of the POST.
        redirect_slashes=False,
    )
    install_handlers(app)
    app.include_router(_open_router(gate), prefix=_PUBLIC)
    app.include_router(timeline_router(store, runner))
    closed = [Depends(gate.admit)]
    for router in (
        _workspace_router(store),
        actors.actor_router("source", store, registry, runner),
        actors.actor_router("destination", store, registry, runner),
        connection_router(store, registry, runner),
        _stream_router(store, registry),
        _job_router(store, runner),
    ):
        app.include_router(
            router, prefix=_PUBLIC, dependencies=closed, responses=problem_responses()
        )
    if internal_api:
        app.include_router(
            internal_router(store, registry, runner),
            prefix="/api/v1",
            dependencies=closed,
            responses=problem_responses(),
        )
    if faults:
        app.include_router(switchboard.router(), responses=problem_responses())
        app.add_middleware(FaultMiddleware, switchboard=switchboard)
    return app


class TokenRequest(BaseModel):
    """A request for a token. Clients send JSON without `grant_type`, or a form with it."""

    client_id: str
    client_secret: str
    grant_type: Literal["client_credentials"] = "client_credentials"


def _open_router(gate: Gate) -> APIRouter:
    """Return the routes that need no credentials."""
    router = APIRouter()

    @router.get("/health", tags=["Health"])
    def health() -> Response:
        return Response('"Successful operation"', media_type="application/json")

    body = {
        "required": True,
        "content": {
            kind: {"schema": TokenRequest.model_json_schema()}
            for kind in ("application/json", "application/x-www-form-urlencoded")
        },
    }

    @router.post(
        "/applications/token",
        response_model=models.TokenResponse,
        responses=problem_responses(),
        openapi_extra={"requestBody": body},
        tags=["Applications"],
    )
    async def token(request: Request) -> models.TokenResponse:
        wanted = await _token_request(request)
        value = gate.token_for(wanted.client_id, wanted.client_secret)
        return models.TokenResponse(access_token=value, expires_in=TOKEN_SECONDS)

    return router


async def _token_request(request: Request) -> TokenRequest:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/x-www-form-urlencoded":
            content: Any = dict(await request.form())
        else:
            content = await request.json()
        return TokenRequest.model_validate(content)
    except ValueError:
        raise unprocessable("client_id and client_secret are needed") from None


def _workspace_router(store: Store) -> APIRouter:
    router = APIRouter(tags=["Workspaces"])

    @router.get("/workspaces", response_model=models.Workspaces, response_model_exclude_none=True)
    def workspaces(
        request: Request,
        workspaceIds: Annotated[list[UUID] | None, Query()] = None,
        limit: models.Limit = 20,
        offset: models.Offset = 0,
    ) -> dict[str, Any]:
        found = [
            models.Workspace(workspaceId=one.id, name=one.name)
            for one in store.workspaces()
            if not workspaceIds or one.id in workspaceIds
        ]
        return page(request, found[offset : offset + limit + 1], limit, offset)

    @router.get("/workspaces/{workspaceId}", response_model=models.Workspace)
    def workspace(workspaceId: UUID) -> models.Workspace:
        for one in store.workspaces():
            if one.id == workspaceId:
                return models.Workspace(workspaceId=one.id, name=one.name)
        raise not_found("workspace", workspaceId)

    return router


def _stream_router(store: Store, registry: Registry) -> APIRouter:
    """Return the route that lists a source's streams: people and Airbyte's SDK ask for them."""
    router = APIRouter(tags=["Streams"])

    @router.get(
        "/streams",
        response_model=list[models.StreamProperties],
        response_model_exclude_none=True,
    )
    def streams(
        sourceId: UUID,
        destinationId: UUID | None = None,
        ignoreCache: bool = False,  # noqa: ARG001 - there is no other catalog than the cached one
    ) -> list[models.StreamProperties]:
        source = store.actor("source", sourceId)
        if source is None:
            raise not_found("source", sourceId)
        if destinationId is not None and store.actor("destination", destinationId) is None:
            raise not_found("destination", destinationId)
        connector = registry.find("source", type=source.type)
        return properties_of(connector) if connector is not None else []

    return router


def _job_router(store: Store, runner: JobRunner) -> APIRouter:
    router = APIRouter(tags=["Jobs"])

    @router.get("/jobs", response_model=models.Jobs, response_model_exclude_none=True)
    def jobs(
        request: Request,
        connectionId: UUID | None = None,
        workspaceIds: Annotated[list[UUID] | None, Query()] = None,
        jobType: models.JobType | None = None,
        status: models.JobStatus | None = None,
        createdAtStart: dt.datetime | None = None,
        createdAtEnd: dt.datetime | None = None,
        updatedAtStart: dt.datetime | None = None,
        updatedAtEnd: dt.datetime | None = None,
        orderBy: Annotated[
            str, Query(pattern=r"^(createdAt|updatedAt)\|(ASC|DESC)$")
        ] = "createdAt|DESC",
        limit: models.Limit = 20,
        offset: models.Offset = 0,
    ) -> dict[str, Any]:
        conditions = [
            (text, value)
            for text, value in (
                ("connection_id = %s", connectionId),
                ("workspace_id = any(%s)", workspaceIds or None),
                ("type = %s", jobType),
                ("status = %s", status),
                ("created_at >= %s", _utc(createdAtStart)),
                ("created_at <= %s", _utc(createdAtEnd)),
                ("updated_at >= %s", _utc(updatedAtStart)),
                ("updated_at <= %s", _utc(updatedAtEnd)),
            )
            if value is not None
        ]
        column, _, direction = orderBy.partition("|")
        order = f"{'created_at' if column == 'createdAt' else 'updated_at'} {direction}, id desc"
        found = store.jobs(conditions, order, limit + 1, offset)
        return page(request, [_job(one) for one in found], limit, offset)

    @router.post("/jobs", response_model=models.Job)
    def create(body: models.JobCreate) -> models.Job:
        if body.jobType != "sync":
            raise unprocessable(f"this server runs jobs of type sync, not {body.jobType}")
        return _job(runner.start(body.connectionId))

    @router.get("/jobs/{jobId}", response_model=models.Job)
    def get(jobId: JobId) -> models.Job:
        return _job(_stored(jobId))

    @router.delete("/jobs/{jobId}", response_model=models.Job)
    def cancel(jobId: JobId) -> models.Job:
        runner.cancel(_stored(jobId))
        return _job(_stored(jobId))

    def _stored(id: int) -> StoredJob:
        job = store.job(id)
        if job is None:
            raise not_found("job", id)
        return job

    return router


def _utc(time: dt.datetime | None) -> dt.datetime | None:
    """Return the time with its offset; one without an offset is UTC."""
    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=dt.UTC)


def _job(job: StoredJob) -> models.Job:
    return models.Job.model_validate(
        {
            "jobId": job.id,
            "status": job.status,
            "jobType": job.type,
            "connectionId": job.connection_id,
            "startTime": models.iso_time(job.created_at),
            "lastUpdatedAt": models.iso_time(job.updated_at),
            "duration": models.iso_duration(job.updated_at - job.created_at),
            "bytesSynced": job.bytes,
            "rowsSynced": job.rows,
        }
    )
