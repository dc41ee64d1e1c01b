# ruff: noqa: N803 - parameters have the names of Airbyte's API
"""A page that shows a job, at the address of the job's page in Airbyte's own UI.

Links to jobs are made for Airbyte's UI and opened in a browser, which has no token. So the page
asks for none and shows no secret: status, times, rows, bytes, and the message of a failure, in
which the worker has masked secrets. It does not show the log, which connectors write.
"""

from __future__ import annotations

import datetime as dt
from html import escape
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from starlette.responses import HTMLResponse

from devstack.airbyte.errors import not_found
from devstack.airbyte.jobs import JobRunner
from devstack.airbyte.store import Store, StoredJob

_REFRESH_SECONDS = 2
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Airbyte job {id}: {status}</title>{refresh}
<style>body {{ font: 16px sans-serif; margin: 2em }} th {{ text-align: left; padding-right: 2em }}
</style></head><body><h1>Job {id}: {status}</h1><table>{rows}</table>
<p>This is the embedded Airbyte, which has no other page.</p></body></html>
"""


def timeline_router(store: Store, runner: JobRunner) -> APIRouter:
    """Return the route of the page, which is not part of the API's description."""
    router = APIRouter(include_in_schema=False)

    @router.get("/workspaces/{workspaceId}/connections/{connectionId}/timeline")
    def timeline(
        workspaceId: Annotated[UUID, Path()],
        connectionId: Annotated[UUID, Path()],
        jobId: Annotated[int, Query(ge=-(2**63), le=2**63 - 1)],
    ) -> HTMLResponse:
        job = store.job(jobId)
        if job is None or (job.workspace_id, job.connection_id) != (workspaceId, connectionId):
            raise not_found("job", jobId)
        return HTMLResponse(_page(job, str(runner.log_file(job.id))))

    return router


def _page(job: StoredJob, log: str) -> str:
    running = job.status == "running"
    facts = {
        "Started": f"{job.created_at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "Duration": str(dt.timedelta(seconds=_seconds(job, running=running))),
        "Rows": f"{job.rows:,}",
        "Bytes": f"{job.bytes:,}",
        **({"Failure": str(job.failure.get("message", ""))} if job.failure else {}),
        "Log": log,
    }
    rows = (f"<tr><th>{name}</th><td>{escape(fact)}</td></tr>" for name, fact in facts.items())
    refresh = f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">' if running else ""
    return _PAGE.format(id=job.id, status=escape(job.status), refresh=refresh, rows="\n".join(rows))


def _seconds(job: StoredJob, *, running: bool) -> int:
    """Return the seconds that the job took or, if it is running, has been running."""
    end = dt.datetime.now(dt.UTC) if running else job.updated_at
    return max(0, int((end - job.created_at).total_seconds()))
