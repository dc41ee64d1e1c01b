"""One sync of one connection: start Airbyte's job, follow it to its end, say how it went.

dagster-airbyte starts, polls and cancels the job; its requests are sent by `AirbyteApi`, as all
others are. Its ready-made `sync_and_poll` is not used: it asks the internal API for the connection
first, which newer servers answer with 404.

A sync that is already running is adopted: the run follows it to its end, and the data is as old as
its start. It is not cancelled with the run, because somebody else started it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import dagster as dg
from dagster_airbyte.resources import AirbyteClient
from pydantic import PrivateAttr

from ingestion.airbyte.client import AirbyteApi
from ingestion.errors import AirbyteError, IngestionError, SyncError
from ingestion.settings import AirbyteSettings

__all__ = ["Sync", "client_of", "run_sync"]

ENDED: Final = frozenset({"succeeded", "failed", "error", "cancelled"})
"""Anything else (running, pending, incomplete, queued, ...) is still going on."""

OUTAGE_SECONDS: Final = 300.0
"""How long Airbyte may be out of reach while a job runs before the run gives up."""

LOOK_BACK: Final = timedelta(days=7)
"""How old a job can be and still be running."""


class Log(Protocol):
    def info(self, msg: str) -> None: ...
    def warning(self, msg: str) -> None: ...


@dataclass(frozen=True)
class Sync:
    """A sync that succeeded."""

    job_id: int
    connection_id: str
    started: datetime
    """UTC. Every row that the source had by then has landed."""
    seconds: float
    """How long the run followed the job."""
    rows: int | None
    bytes: int | None
    adopted: bool
    url: str


class Client(AirbyteClient):
    """dagster-airbyte's client, with its requests sent by ours.

    Left alone it would speak HTTP itself, and then a second client with another token, other
    time-outs and other words for a fault talks to the same server: one that hides what Airbyte
    answered and repeats any request, so that a lost answer could start two jobs.
    """

    _api: AirbyteApi = PrivateAttr()

    # Private, and still the one place to do it: every public method builds its request and ends
    # here. dagster-airbyte is pinned, and a test holds that a sync makes no request elsewhere.
    def _single_request(
        self,
        method: str,
        url: str,
        data: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        include_additional_request_headers: bool = True,  # noqa: ARG002  (ours has its own)
    ) -> Mapping[str, Any]:
        return self._api.request(method, url, params=params, json=data)


def client_of(settings: AirbyteSettings, api: AirbyteApi) -> Client:
    """Return dagster-airbyte's client of that Airbyte."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # all of dagster-airbyte is marked beta
        client = Client(
            rest_api_base_url=settings.public_url,
            configuration_api_base_url=settings.internal_url,
            workspace_id=api.workspace_id,
            poll_interval=1 if settings.development else 10,
            # It asks for these, and has no use for them: `api` has its own.
            request_max_retries=0,
            request_retry_delay=0,
            request_timeout=0,
        )
    client._api = api  # noqa: SLF001  (ours; pydantic takes no private field in the constructor)
    return client


def run_sync(
    settings: AirbyteSettings,
    api: AirbyteApi,
    connection_id: str,
    log: Log,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Sync:
    """Sync the connection and wait for the end.

    `SyncError` if the job fails, is cancelled, or cannot be followed. An interruption of any
    other kind cancels the job that was started here, then goes on.
    """
    return _Follower(settings, api, connection_id, log, sleep).run()


class _Follower:
    def __init__(
        self,
        settings: AirbyteSettings,
        api: AirbyteApi,
        connection_id: str,
        log: Log,
        sleep: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._api = api
        self._connection_id = connection_id
        self._log = log
        self._sleep = sleep
        self._client = client_of(settings, api)
        self._newest = 0
        """The newest job of the connection before this run started one."""

    def run(self) -> Sync:
        watch = time.monotonic()
        jobs = self._jobs()
        self._newest = max((int(job["jobId"]) for job in jobs), default=0)
        running = [job for job in jobs if job["status"] not in ENDED]
        if running:
            job = max(running, key=lambda one: int(one["jobId"]))
            self._log.info(f"Airbyte job {job['jobId']} is running already: following it")
            started = min(_start_of(job), _now())
            details = self._follow(int(job["jobId"]))
        else:
            started = _now()
            details = self._start_and_follow()
        return Sync(
            job_id=int(details["jobId"]),
            connection_id=self._connection_id,
            started=started,
            seconds=time.monotonic() - watch,
            rows=details.get("rowsSynced"),
            bytes=details.get("bytesSynced"),
            adopted=bool(running),
            url=self._url(int(details["jobId"])),
        )

    def _start_and_follow(self) -> Mapping[str, Any]:
        job_id: int | None = None
        try:
            job_id = self._start()
            self._log.info(f"Airbyte job {job_id} started: {self._url(job_id)}")
            return self._follow(job_id)
        except IngestionError:
            raise
        except BaseException:  # the run is being terminated: the job must not outlive it
            self._cancel(job_id)
            raise

    def _start(self) -> int:
        """Start a job; after a fault, find out whether there is one before giving up."""
        try:
            return int(self._client.start_sync_job(self._connection_id)["jobId"])
        except AirbyteError as error:
            started = self._started_here()
            if started is not None:
                return started
            connection = self._api.get("connection", self._connection_id)
            status = connection.get("status", "active")
            if status != "active":
                raise SyncError(
                    f"connection {connection['name']} is {status} in Airbyte: "
                    "`ingestion apply` enables it again"
                ) from None
            raise SyncError(f"Airbyte did not start the sync: {_refusal(error)}") from None

    def _follow(self, job_id: int) -> Mapping[str, Any]:
        """Poll until the job ends; its details if it succeeded."""
        while True:
            details = self._details(job_id)
            status = details["status"]
            if status == "succeeded":
                return details
            if status in ENDED:
                raise SyncError(self._ending(job_id, status))
            self._sleep(self._client.poll_interval)

    def _details(self, job_id: int) -> Mapping[str, Any]:
        """The job as it is now; an Airbyte that is away for a while is waited for."""
        deadline = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                return self._client.get_job_details(job_id)
            except AirbyteError as error:
                if error.status in (401, 403, 404):
                    raise SyncError(f"lost sight of Airbyte job {job_id}: {error}") from None
                if time.monotonic() > deadline:
                    raise SyncError(
                        f"gave up following Airbyte job {job_id}, which may still be running "
                        f"(the next run adopts it): {error}"
                    ) from None
                self._log.warning(f"waiting for Airbyte: {error}")
            self._sleep(self._client.poll_interval)

    def _cancel(self, job_id: int | None) -> None:
        try:
            target = self._started_here() if job_id is None else job_id
            if target is not None:
                self._client.cancel_job(target)
                self._log.info(f"Airbyte job {target} cancelled with the run")
        except AirbyteError as error:
            self._log.warning(f"Airbyte job {job_id} could not be cancelled: {error}")

    def _started_here(self) -> int | None:
        """The job that appeared since this run looked first."""
        newer = [int(job["jobId"]) for job in self._jobs() if int(job["jobId"]) > self._newest]
        return max(newer, default=None)

    def _jobs(self) -> list[dict[str, Any]]:
        # dagster-airbyte writes its local time here and labels it UTC; ours is UTC.
        return self._api.jobs(self._connection_id, created_after=_now() - LOOK_BACK)

    def _ending(self, job_id: int, status: str) -> str:
        said = self._api.job_message(job_id)
        words = "was cancelled in Airbyte" if status == "cancelled" else "failed"
        return f"Airbyte job {job_id} {words}{': ' + said if said else ''} ({self._url(job_id)})"

    def _url(self, job_id: int) -> str:
        return (
            f"{self._settings.ui_url}/workspaces/{self._api.workspace_id}/connections/"
            f"{self._connection_id}/timeline?openLogs=true&jobId={job_id}"
        )


def _refusal(error: AirbyteError) -> str:
    """Why Airbyte did not start a sync, in its own words."""
    if error.status is None:
        return "it broke the connection off, and runs none"
    return error.said or f"it answered {error.status} and gave no reason"


def _now() -> datetime:
    return datetime.now(UTC)


def _start_of(job: Mapping[str, Any]) -> datetime:
    """When the job began, by Airbyte's clock; its beginning of time if that is not known."""
    value = job.get("startTime")
    if not value:
        return datetime.fromtimestamp(0, UTC)
    start = datetime.fromisoformat(str(value))
    return start if start.tzinfo else start.replace(tzinfo=UTC)
