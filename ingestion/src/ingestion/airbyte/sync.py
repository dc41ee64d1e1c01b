"""One sync of one connection: start Airbyte's job, follow it to its end, return how it went.

dagster-airbyte starts, polls and cancels the job; its requests are sent by `AirbyteApi`, like all
others. Its ready-made `sync_and_poll` is not used: it asks the internal API for the connection
first, which newer servers answer with 404.

A sync that is already running is adopted: the run follows it to its end, and the data time is
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
"""A job with any other status (running, pending, incomplete, queued, ...) has not ended."""

OUTAGE_SECONDS: Final = 300.0
"""A run gives up if Airbyte cannot be asked about its job for longer than this."""

LONGEST_JOB: Final = timedelta(days=7)
"""Jobs that were created longer ago are ignored."""


class Log(Protocol):
    def info(self, msg: str) -> None: ...
    def warning(self, msg: str) -> None: ...


@dataclass(frozen=True)
class Sync:
    """A sync that succeeded."""

    job_id: int
    connection_id: str
    started: datetime
    """UTC. All rows that the source had by then have landed."""
    seconds: float
    """How long the run followed the job."""
    rows: int | None
    """None: Airbyte does not say."""
    bytes: int | None
    previous_job_id: int | None
    """The connection's job right before this one, of any type and with any end. None: it is not
    known, there was none, or a newer one has begun already."""
    adopted: bool
    url: str


class Client(AirbyteClient):
    """The client of dagster-airbyte, which sends its requests through `AirbyteApi`.

    Its own session would be a second client of the same server, with another token, other
    time-outs and other messages. It also hides what Airbyte answered, and repeats any failed
    request, so that a lost answer could start two jobs.
    """

    _api: AirbyteApi = PrivateAttr()

    # It replaces a private method, because no public one would do: every public method builds its
    # request and passes it on to this one. The version of dagster-airbyte is pinned, and a test
    # fails if a sync sends a request in another way.
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
    """Return dagster-airbyte's client for that Airbyte."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # all of dagster-airbyte is marked beta
        client = Client(
            rest_api_base_url=settings.public_url,
            configuration_api_base_url=settings.internal_url,
            workspace_id=api.workspace_id,
            poll_interval=1 if settings.development else 10,
            # Required, but without effect: `api` has its own.
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
    """Sync the connection, wait for the end, and return how it went.

    Raise `SyncError` if the job fails, is cancelled or cannot be followed, and `AirbyteError` if
    Airbyte cannot be asked. If the run is terminated, cancel the job, unless it was adopted.
    """
    return _Follower(settings, api, connection_id, log, sleep).run()


class _Follower:
    """Starts or adopts a job of one connection, and follows it to its end."""

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
        self._newest_before = 0
        """The id of the connection's newest job when this run began."""

    def run(self) -> Sync:
        began = time.monotonic()
        jobs = self._jobs()
        self._newest_before = max((int(job["jobId"]) for job in jobs), default=0)
        running = [job for job in jobs if job["status"] not in ENDED]
        if running:
            job = max(running, key=lambda one: int(one["jobId"]))
            self._log.info(f"Airbyte job {job['jobId']} is running already: following it")
            started = min(_start_of(job), _now())
            details = self._follow(int(job["jobId"]))
        else:
            started = _now()
            details = self._start_and_follow()
        job_id = int(details["jobId"])
        return Sync(
            job_id=job_id,
            connection_id=self._connection_id,
            started=started,
            seconds=time.monotonic() - began,
            rows=details.get("rowsSynced"),
            bytes=details.get("bytesSynced"),
            previous_job_id=self._job_before(job_id),
            adopted=bool(running),
            url=self._url(job_id),
        )

    def _start_and_follow(self) -> Mapping[str, Any]:
        job_id: int | None = None
        try:
            job_id = self._start()
            self._log.info(f"Airbyte job {job_id} started: {self._url(job_id)}")
            return self._follow(job_id)
        except IngestionError:
            raise
        except BaseException:  # the run is being terminated, and its job must end with it
            self._cancel(job_id)
            raise

    def _start(self) -> int:
        """Start a job and return its id, also if a fault hid that it started.

        Raise `SyncError` if no job started.
        """
        try:
            return int(self._client.start_sync_job(self._connection_id)["jobId"])
        except AirbyteError as error:
            started = self._newer_job()
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
        """Poll until the job ends, and return its details; raise `SyncError` if it failed."""
        while True:
            details = self._details(job_id)
            status = details["status"]
            if status == "succeeded":
                return details
            if status in ENDED:
                raise SyncError(self._ending(job_id, status))
            self._sleep(self._client.poll_interval)

    def _details(self, job_id: int) -> Mapping[str, Any]:
        """Return the job as it is now, also if Airbyte does not answer for a while.

        Raise `SyncError` after `OUTAGE_SECONDS`, or if the job cannot be read at all.
        """
        deadline = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                return self._client.get_job_details(job_id)
            except AirbyteError as error:
                if error.status in (401, 403, 404):
                    raise SyncError(
                        f"cannot follow Airbyte job {job_id} any more: {error}"
                    ) from None
                if time.monotonic() > deadline:
                    raise SyncError(
                        f"gave up following Airbyte job {job_id}, which may still be running "
                        f"(the next run adopts it): {error}"
                    ) from None
                self._log.warning(f"waiting for Airbyte: {error}")
            self._sleep(self._client.poll_interval)

    def _job_before(self, job_id: int) -> int | None:
        try:
            ids = self._api.newest_job_ids(self._connection_id)
        except AirbyteError as error:
            self._log.warning(f"cannot see which job came before Airbyte job {job_id}: {error}")
            return None
        return ids[1] if len(ids) > 1 and ids[0] == job_id else None

    def _cancel(self, job_id: int | None) -> None:
        try:
            target = self._newer_job() if job_id is None else job_id
            if target is not None:
                self._client.cancel_job(target)
                self._log.info(f"Airbyte job {target} cancelled with the run")
        except AirbyteError as error:
            self._log.warning(f"Airbyte job {job_id} could not be cancelled: {error}")

    def _newer_job(self) -> int | None:
        """Return the id of the newest job that is newer than this run; None if there is none."""
        ids = [int(job["jobId"]) for job in self._jobs()]
        return max((id_ for id_ in ids if id_ > self._newest_before), default=None)

    def _jobs(self) -> list[dict[str, Any]]:
        # Not by dagster-airbyte, which sends its local time as if it were UTC.
        return self._api.jobs(self._connection_id, created_after=_now() - LONGEST_JOB)

    def _ending(self, job_id: int, status: str) -> str:
        why = self._api.job_message(job_id)
        words = "was cancelled in Airbyte" if status == "cancelled" else "failed"
        return f"Airbyte job {job_id} {words}{': ' + why if why else ''} ({self._url(job_id)})"

    def _url(self, job_id: int) -> str:
        return (
            f"{self._settings.ui_url}/workspaces/{self._api.workspace_id}/connections/"
            f"{self._connection_id}/timeline?openLogs=true&jobId={job_id}"
        )


def _refusal(error: AirbyteError) -> str:
    """Return why Airbyte did not start a sync, in its own words."""
    if error.status is None:
        return "it broke off the connection, and no job runs"
    return error.reason or f"it answered {error.status} and gave no reason"


def _now() -> datetime:
    return datetime.now(UTC)


def _start_of(job: Mapping[str, Any]) -> datetime:
    """Return when the job began, by Airbyte's clock; 1970 if Airbyte gives no start."""
    value = job.get("startTime")
    if not value:
        return datetime.fromtimestamp(0, UTC)
    start = datetime.fromisoformat(str(value))
    return start if start.tzinfo else start.replace(tzinfo=UTC)
