"""One sync of one connection: start Airbyte's job, follow it to its end, say how it went.

dagster-airbyte's client starts, polls and cancels the job, through the public API alone: its
ready-made `sync_and_poll` asks the internal API for the connection first, which newer servers
answer with 404. It also repeats a failed request whatever it was, so that a lost answer could
start two jobs; here its own repetition is off, and each case is decided on its own.

The rule for a sync that is already running: it is adopted, that is followed to its end like one's
own, and the data is as old as its start. It is not cancelled with the run, for someone else
started it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import dagster as dg
import requests
from dagster_airbyte import AirbyteWorkspace
from dagster_airbyte.resources import AirbyteClient
from dateutil.parser import isoparse
from pydantic import PrivateAttr

from ingestion.client import AirbyteApi, AirbyteError
from ingestion.settings import AirbyteSettings

__all__ = ["Sync", "SyncError", "client_of", "run_sync"]

ENDED: Final = frozenset({"succeeded", "failed", "error", "cancelled"})
"""Anything else (running, pending, incomplete, queued, ...) is still going on."""

OUTAGE_SECONDS: Final = 300.0
"""How long Airbyte may be out of reach while a job runs before the run gives up."""

LOOK_BACK: Final = timedelta(days=7)
"""How old a job can be and still be running."""


class SyncError(Exception):
    """The sync did not succeed; the message is for people."""


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
    """dagster-airbyte's client, which of a refusal tells the status alone: this one keeps it."""

    _answer: requests.Response | None = PrivateAttr(default=None)

    @property
    def answer(self) -> requests.Response | None:
        """What the last request was answered; None if it was not."""
        return self._answer

    def _get_session(self, include_additional_request_headers: bool) -> requests.Session:
        session = super()._get_session(include_additional_request_headers)
        self._answer = None  # only now: making a session may itself ask for a token
        session.hooks["response"].append(self._keep)
        return session

    def _keep(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._answer = response


def client_of(settings: AirbyteSettings, workspace_id: str) -> Client:
    """A client of that Airbyte, with a token still to be asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # all of dagster-airbyte is marked beta
        made = AirbyteWorkspace(
            rest_api_base_url=settings.public_url,
            configuration_api_base_url=settings.internal_url,
            workspace_id=workspace_id,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            username=settings.username,
            password=settings.password,
            request_max_retries=0,
            poll_interval=1 if settings.development else 10,
        ).get_client()
        return Client(**dict(made))


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
        self._client = client_of(settings, api.workspace_id)
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
        except (SyncError, AirbyteError, dg.Failure):
            raise
        except BaseException:  # the run is being terminated: the job must not outlive it
            self._cancel(job_id)
            raise

    def _start(self) -> int:
        """Start a job; after a fault, find out whether there is one before giving up."""
        try:
            return int(self._client.start_sync_job(self._connection_id)["jobId"])
        except dg.Failure:
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
            raise SyncError(f"Airbyte did not start the sync: {self._refusal()}") from None

    def _refusal(self) -> str:
        """Why the last request of the client failed, in Airbyte's own words."""
        answer = self._client.answer
        if answer is None:
            return "it broke the connection off, and runs none"
        return self._api.said(answer) or f"it answered {answer.status_code} and gave no reason"

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
        try:
            return self._client.get_job_details(job_id)
        except dg.Failure:
            # An expired token, a restart, a proxy's hiccup: a new client has a new token, and
            # ours below tells a passing fault from a lasting one.
            self._client = client_of(self._settings, self._api.workspace_id)
        deadline = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                return self._api.job(job_id)
            except AirbyteError as error:
                if error.status in (401, 403, 404):
                    raise SyncError(f"lost sight of Airbyte job {job_id}: {error}") from None
                if time.monotonic() > deadline:
                    raise SyncError(
                        f"gave up following Airbyte job {job_id}, which may still be running "
                        f"(the next run adopts it): {error}"
                    ) from None
                self._log.warning(f"waiting for Airbyte: {error}")

    def _cancel(self, job_id: int | None) -> None:
        try:
            target = self._started_here() if job_id is None else job_id
            if target is not None:
                self._client.cancel_job(target)
                self._log.info(f"Airbyte job {target} cancelled with the run")
        except (dg.Failure, AirbyteError) as error:
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


def _now() -> datetime:
    return datetime.now(UTC)


def _start_of(job: Mapping[str, Any]) -> datetime:
    """When the job began, by Airbyte's clock; its beginning of time if that is not known."""
    value = job.get("startTime")
    if not value:
        return datetime.fromtimestamp(0, UTC)
    moment = isoparse(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
