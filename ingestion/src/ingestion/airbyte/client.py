"""The one client that speaks HTTP with Airbyte, for check, apply, destroy and the syncs.

Every fault ends as one `AirbyteError`: a single line that says what to do. GET and DELETE are
repeated with growing pauses, because they may be carried out twice. POST, PATCH and PUT are
repeated only when the server certainly did not carry them out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import tenacity

from ingestion.airbyte.faults import RetryableError, advice, reason, retry_after
from ingestion.airbyte.secrets import Redactor
from ingestion.errors import AirbyteError
from ingestion.settings import AirbyteSettings

__all__ = ["AirbyteApi", "Kind"]

Kind = Literal["source", "destination", "connection"]

ATTEMPTS: Final = 5
LONGEST_PAUSE: Final = 60.0
"""Seconds. If Retry-After asks for a longer pause, the client fails instead of waiting."""
PAGE: Final = 100
"""Entries on a page: the most that the public API allows. Its default is 20."""


SIGN_IN_PATH: Final = "/applications/token"


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    """A path below the public API's base, or a whole URL."""
    params: Mapping[str, Any] | None = None
    json: Mapping[str, Any] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether carrying it out twice does no harm."""
        return self.method in ("GET", "DELETE") or self.path == SIGN_IN_PATH


class AirbyteApi:
    """One Airbyte, through its public API. Use as a context manager."""

    def __init__(
        self,
        settings: AirbyteSettings,
        *,
        redact: Redactor | None = None,
        # Seconds. Creating a connection makes Airbyte discover the source's schema, which is slow.
        timeout: float = 120.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._redact = redact or Redactor()
        self._redact.hide(settings.client_secret, settings.password)
        self._sleep = sleep
        self._token: str | None = None
        self._workspace: str | None = settings.workspace_id
        auth = (settings.username, settings.password or "") if settings.username else None
        self._http = httpx.Client(
            base_url=settings.public_url,
            auth=auth,
            transport=transport,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            headers={"accept": "application/json", "user-agent": "ingestion"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    @property
    def url(self) -> str:
        return self._settings.url

    @property
    def workspace_id(self) -> str:
        """The workspace in the settings, or else the only one that the credentials see.

        Raise `AirbyteError` if they see none or several.
        """
        if self._workspace is None:
            workspaces = self.request("GET", "/workspaces", params={"limit": 2}).get("data", [])
            if not workspaces:
                raise AirbyteError(
                    "these credentials see no workspace: set AIRBYTE_WORKSPACE_ID, or give the "
                    "application access to one"
                )
            if len(workspaces) > 1:
                raise AirbyteError(
                    "these credentials see more than one workspace: set AIRBYTE_WORKSPACE_ID"
                )
            self._workspace = str(workspaces[0]["workspaceId"])
        return self._workspace

    def pause(self, seconds: float) -> None:
        """Sleep for this time."""
        self._sleep(seconds)

    def every(self, kind: Kind) -> Iterator[dict[str, Any]]:
        """Yield every source, destination or connection of the workspace, page by page."""
        return self._pages(f"/{kind}s", {})

    def _pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        params: dict[str, Any] = {
            "workspaceIds": self.workspace_id,
            "limit": PAGE,
            "offset": 0,
            **filters,
        }
        while True:
            page = self.request("GET", path, params=params)
            entries = page.get("data") or []
            yield from entries
            following = page.get("next")
            if not following or not entries:
                return
            offset = parse_qs(urlsplit(following).query).get("offset", ["0"])[0]
            # If `next` has no offset, it is the page after this one.
            params["offset"] = max(int(offset), params["offset"] + len(entries))

    def named(self, kind: Kind, name: str) -> list[dict[str, Any]]:
        """Return every object of that name; Airbyte allows several."""
        return [entry for entry in self.every(kind) if entry.get("name") == name]

    def get(self, kind: Kind, id_: str) -> dict[str, Any]:
        """Return one object; raise `AirbyteError` with status 404 if it does not exist."""
        return self.request("GET", f"/{kind}s/{id_}")

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object, and return it as Airbyte has it."""
        return self.request("POST", f"/{kind}s", json=body)

    def update(self, kind: Kind, id_: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the given fields and leave the others as they are."""
        return self.request("PATCH", f"/{kind}s/{id_}", json=body)

    def replace(self, kind: Kind, id_: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Overwrite the name and the configuration of a source or destination; its id stays."""
        return self.request("PUT", f"/{kind}s/{id_}", json=body)

    def delete(self, kind: Kind, id_: str) -> None:
        """Delete an object; do nothing if it is already gone."""
        try:
            self.request("DELETE", f"/{kind}s/{id_}")
        except AirbyteError as error:
            if error.status != 404:
                raise

    def catalog(self, connection_id: str) -> list[dict[str, Any]]:
        """Return the streams of a connection with their schemas, as Airbyte's protocol has them.

        Only the internal API has them, and some servers do not offer it: then raise `AirbyteError`.
        """
        url = f"{self._settings.internal_url}/connections/get"
        answer = self.request("POST", url, json={"connectionId": connection_id})
        names = {
            "name": "name",
            "jsonSchema": "json_schema",
            "supportedSyncModes": "supported_sync_modes",
            "sourceDefinedCursor": "source_defined_cursor",
            "defaultCursorField": "default_cursor_field",
            "sourceDefinedPrimaryKey": "source_defined_primary_key",
        }
        streams = [one["stream"] for one in (answer.get("syncCatalog") or {}).get("streams") or []]
        return [
            {ours: stream[theirs] for theirs, ours in names.items() if theirs in stream}
            for stream in streams
            if stream.get("jsonSchema")
        ]

    # --- jobs ---------------------------------------------------------------------------------

    def jobs(self, connection_id: str, *, created_after: datetime) -> list[dict[str, Any]]:
        """Return the sync jobs of a connection that were created since `created_after`."""
        start = created_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        params = {"connectionId": connection_id, "jobType": "sync", "createdAtStart": start}
        return list(self._pages("/jobs", params))

    def newest_job_ids(self, connection_id: str) -> list[int]:
        """Return the ids of the newest jobs of a connection, of all types, the newest first."""
        params = {
            "workspaceIds": self.workspace_id,
            "connectionId": connection_id,
            "orderBy": "createdAt|DESC",
            "limit": 10,
        }
        jobs = self.request("GET", "/jobs", params=params).get("data") or []
        # Some servers ignore the order.
        return sorted((int(job["jobId"]) for job in jobs), reverse=True)

    def job_message(self, job_id: int) -> str:
        """Return why a job failed, in Airbyte's own words; "" if it does not say."""
        # Only the internal API has a field for it, and some servers do not offer that API.
        try:
            url = f"{self._settings.internal_url}/jobs/get"
            answer = self.request("POST", url, json={"id": job_id})
        except AirbyteError:
            return ""
        for attempt in reversed(answer.get("attempts") or []):
            summary = (attempt.get("attempt") or attempt).get("failureSummary") or {}
            for failure in summary.get("failures") or []:
                words = failure.get("externalMessage") or failure.get("internalMessage") or ""
                if words:
                    return self._one_line(words)
        return ""

    # --- requests -----------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send one request, repeated where that is safe, and return the JSON of the answer.

        `path` is below the public API's base, or a whole URL. Return {} if the answer has no body.
        Raise `AirbyteError` if Airbyte does not answer or refuses the request.
        """
        request = _Request(method, path, params, json)
        usual = tenacity.wait_exponential_jitter(multiplier=0.5, max=10)

        def pause(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            asked = fault.pause if isinstance(fault, RetryableError) else None
            return usual(state) if asked is None else asked

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=pause,
            retry=tenacity.retry_if_exception_type(RetryableError),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(lambda: self._attempt(request))
        except RetryableError as fault:
            raise fault.error from None

    def _attempt(self, request: _Request) -> dict[str, Any]:
        used = self._bearer() if self._settings.client_id else None
        response = self._send(request, token=used)
        if response.status_code == 401 and used:
            # Tokens expire after minutes (three on Airbyte Cloud): ask for another one, once.
            self._token = None
            response = self._send(request, token=self._bearer())
        self._raise_for_status(request, response)
        if response.status_code == 204 or not response.content:
            return {}
        return self._json(response)

    def _bearer(self) -> str:
        if self._token is None:
            body = {
                "client_id": self._settings.client_id,
                "client_secret": self._settings.client_secret,
            }
            request = _Request("POST", SIGN_IN_PATH, json=body)
            response = self._send(request, token=None)
            self._raise_for_status(request, response)
            token = self._json(response).get("access_token")
            if not isinstance(token, str) or not token:
                raise AirbyteError(
                    f"{self._url(SIGN_IN_PATH)} answered no access_token: check AIRBYTE_URL"
                )
            self._redact.hide(token)
            self._token = token
        return self._token

    def _send(self, request: _Request, *, token: str | None) -> httpx.Response:
        """Send the request once; raise `RetryableError` or `AirbyteError` if nothing comes back."""
        headers = {"authorization": f"Bearer {token}"} if token else None
        try:
            return self._http.request(
                request.method,
                request.path,
                params=request.params,
                json=request.json,
                headers=headers,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as fault:
            # Nothing was sent, so that even a request that writes may be repeated.
            raise RetryableError(
                AirbyteError(
                    f"cannot reach Airbyte at {self._settings.url} ({reason(fault)}): is it "
                    "running (`devstack up` starts the embedded one), and is AIRBYTE_URL right?"
                )
            ) from None
        except httpx.HTTPError as fault:
            what = (
                "did not answer in time"
                if isinstance(fault, httpx.TimeoutException)
                else (f"broke off the connection ({reason(fault)})")
            )
            error = AirbyteError(
                f"Airbyte {what}: {request.method} {self._url(request.path)}; run the command "
                "again to continue",
                ambiguous=not request.repeatable,
            )
            raise (RetryableError(error) if request.repeatable else error) from None

    def _raise_for_status(self, request: _Request, response: httpx.Response) -> None:
        status = response.status_code
        if status < 300:
            return
        pause = retry_after(response)
        # These mean that the server carried out nothing. A 503 without Retry-After does not: it may
        # come from a proxy that lost the answer.
        refused = status == 429 or (status == 503 and pause is not None)
        stated = self._reason_in(response)
        error = AirbyteError(
            f"{advice(status, request.path, self._settings.credentials_advice)} "
            f"[{request.method} {self._url(request.path)} answered "
            f"{status}{': ' + stated if stated else ''}]",
            status=status,
            reason=stated,
            ambiguous=status >= 500 and not refused and not request.repeatable,
        )
        retryable = refused or (request.repeatable and (status >= 500 or status == 408))
        if retryable and (pause or 0) <= LONGEST_PAUSE:
            raise RetryableError(error, pause)
        raise error

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            kind = response.headers.get("content-type", "no content type").split(";")[0]
            raise AirbyteError(
                f"{response.request.url.copy_with(query=None)} answered {kind}, not Airbyte's "
                "JSON: is a proxy or a login page in between? Check AIRBYTE_URL",
                status=response.status_code,
                reason=self._reason_in(response),
            )
        return body

    def _reason_in(self, response: httpx.Response) -> str:
        """Return the reason that Airbyte gave for a fault, on one line and without secrets."""
        # A server may repeat the header in its answer. Basic auth encodes the password, so that
        # hiding the password alone would not be enough.
        self._redact.hide(response.request.headers.get("authorization", "").rpartition(" ")[2])
        try:
            body = response.json()
        except ValueError:
            kind = response.headers.get("content-type", "").split(";")[0]
            return f"{kind}, not Airbyte's JSON: a proxy in between?" if kind else ""
        if not isinstance(body, dict):
            return ""
        data = body.get("data")
        more = data.get("message") if isinstance(data, dict) else None
        words = more or body.get("detail") or body.get("message") or body.get("title") or ""
        return self._one_line(str(words))

    def _one_line(self, words: str) -> str:
        return self._redact(" ".join(words.split()))[:500]

    def _url(self, path: str) -> str:
        return path if "://" in path else f"{self._settings.public_url}{path}"
