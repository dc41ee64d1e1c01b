"""A fake Airbyte for what the embedded one cannot do: a real HTTP server that keeps all in memory.

A sync of the embedded Airbyte starts the real connector and takes seconds. Here, the test decides
when a sync ends, and with which status. A fault can happen after the request was carried out, can
have any message, and can let somebody else change something before it. The fake also does what
some other servers do: it fills in defaults, writes integers as floats, and gives streams in another
order. Everything else is tested on the embedded Airbyte.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from ingestion.airbyte.record import connector_spec
from ingestion.airbyte.specification import secret_paths
from ingestion.settings import AirbyteSettings
from openapi import check_request

MASK = "**********"
BASE = "/api/public/v1"

Body = dict[str, Any]
Query = dict[str, list[str]]


@dataclass
class Fault:
    """What happens to the next `times` requests that match."""

    method: str
    path: str
    """A regular expression for the whole path below the API's base."""
    times: int = 1
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"status": 500, "title": "internal-error", "detail": "Oops"}'
    content_type: str = "application/json"
    after: bool = False
    """Carry out the request before the fault."""
    drop: bool = False
    """Break off the connection instead of answering."""
    seconds: float = 0.0
    """Wait before answering."""
    also: Callable[[], None] | None = None
    """Called before the request is carried out: what somebody else does in the meantime."""


class FakeAirbyte:
    """The server's state, and the thread that serves it. Use as a context manager."""

    def __init__(self) -> None:
        self.workspace_id = str(uuid.uuid4())
        self.client_id, self.client_secret = "the-client-id", "the-client-secret"
        self.objects: dict[str, dict[str, Body]] = {
            "source": {},
            "destination": {},
            "connection": {},
        }
        self.jobs: dict[int, Body] = {}
        self.polls_until_done = 1
        self.outcome = "succeeded"
        self.rows_synced: int | None = 3
        """None: it does not say."""
        self.failure_message = "The source refused the token"
        self.internal_api = True
        self.tokens: set[str] = set()
        self.token_uses = 10_000
        """How many requests a token allows."""
        self.workspaces = 1
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        """Every request, "POST /jobs", in order."""
        self.bodies: list[tuple[str, Any]] = []
        self.violations: list[str] = []
        """Requests that Airbyte's description does not allow, from any client."""
        self._lock = threading.RLock()
        self._uses: dict[str, int] = {}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Send headers and body in one packet: with two, each answer waits 40 ms for the kernel.
            wbufsize = -1
            disable_nagle_algorithm = True

            def handle_method(self) -> None:
                fake._serve(self)

            # The base class dictates these names.
            do_GET = do_POST = do_PATCH = do_DELETE = handle_method  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- what tests use -----------------------------------------------------------------------

    def settings(self, **changes: str | None) -> AirbyteSettings:
        known = {"client_id": self.client_id, "client_secret": self.client_secret}
        return AirbyteSettings(url=self.url, **{**known, **changes})

    def fail(self, method: str, path: str, **how: Any) -> Fault:
        fault = Fault(method, path, **how)
        self.faults.append(fault)
        return fault

    def count(self, request: str) -> int:
        return sum(bool(re.fullmatch(request, one)) for one in self.requests)

    def only(self, kind: str) -> Body:
        (one,) = self.objects[kind].values()
        return one

    def add(self, kind: str, **fields: Any) -> Body:
        """Create an object by hand, as in Airbyte's UI."""
        id_ = str(uuid.uuid4())
        made = {f"{kind}Id": id_, "workspaceId": self.workspace_id, "createdAt": int(time.time())}
        body = {**made, **fields}
        self.objects[kind][id_] = body
        return body

    def add_job(
        self,
        connection_id: str,
        status: str = "running",
        start: str | None = None,
        type_: str = "sync",
    ) -> int:
        with self._lock:
            job_id = max(self.jobs, default=0) + 1
            self.jobs[job_id] = {
                "jobId": job_id,
                "status": status,
                "jobType": type_,
                "connectionId": connection_id,
                "startTime": start or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "polls": 0,
            }
            return job_id

    # --- serving ------------------------------------------------------------------------------

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("content-length") or 0)
        raw = request.rfile.read(length)
        parts = urlsplit(request.path)
        internal = not parts.path.startswith(BASE)
        path = parts.path if internal else parts.path.removeprefix(BASE)
        name = f"{request.command} {path}"
        body = json.loads(raw) if raw else None
        if not internal:
            self._check_against_description(request.command, path, parts.query, body)
        with self._lock:
            self.requests.append(name)
            self.bodies.append((name, body))
            fault = next(
                (
                    f
                    for f in self.faults
                    if f.times > 0 and f.method == request.command and re.fullmatch(f.path, path)
                ),
                None,
            )
            if fault:
                fault.times -= 1
                if fault.also:
                    fault.also()
        status, answer = 200, None
        if fault is None or fault.after or fault.seconds:
            with self._lock:
                status, answer = self._answer(request, path, parts.query, body, internal)
        if fault is not None:
            time.sleep(fault.seconds)
            if fault.drop:
                # Reset the connection, as a crashed proxy does, instead of closing it.
                linger = struct.pack("ii", 1, 0)
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                request.close_connection = True
                request.connection.close()
                return
            if not fault.seconds:
                self._write(request, fault.status, fault.body, fault.content_type, fault.headers)
                return
        data = b"" if answer is None else json.dumps(answer).encode()
        self._write(request, status, data, "application/json", {})

    def _check_against_description(self, method: str, path: str, query: str, body: Any) -> None:
        try:
            check_request(method, path, query, body)
        except AssertionError as error:
            self.violations.append(f"{method} {path}: {error}")

    def _write(
        self, request: BaseHTTPRequestHandler, status: int, data: bytes, kind: str, headers: Body
    ) -> None:
        try:
            request.send_response(status)
            request.send_header("content-type", kind)
            request.send_header("content-length", str(len(data)))
            for header, value in headers.items():
                request.send_header(header, value)
            request.end_headers()
            request.wfile.write(data)
        except OSError:
            request.close_connection = True  # the client has given up waiting

    def _answer(
        self, request: BaseHTTPRequestHandler, path: str, query: str, body: Any, internal: bool
    ) -> tuple[int, Any]:
        if path == "/applications/token":
            if (body["client_id"], body["client_secret"]) != (self.client_id, self.client_secret):
                return problem(401, "The credentials are wrong.")
            token = f"token-{uuid.uuid4()}"
            self.tokens.add(token)
            return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 180}
        token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
        self._uses[token] = self._uses.get(token, 0) + 1
        if token not in self.tokens or self._uses[token] > self.token_uses:
            return problem(401, "The token is missing or expired.")
        if internal:
            return self._internal(path, body)
        return self._rest(request.command, path, parse_qs(query), body)

    def _internal(self, path: str, body: Any) -> tuple[int, Any]:
        if not self.internal_api or path != "/api/v1/jobs/get":
            return problem(404, "Object not found.")
        failures = [{"externalMessage": self.failure_message}]
        attempt = {"failureSummary": {"failures": failures}}
        return 200, {"job": {"id": body["id"]}, "attempts": [{"attempt": attempt}]}

    def _rest(self, method: str, path: str, query: Query, body: Any) -> tuple[int, Any]:
        if path == "/workspaces":
            ids = [self.workspace_id, *(str(uuid.uuid4()) for _ in range(self.workspaces - 1))]
            every = {"name": "main", "dataResidency": "auto", "notifications": {}}
            return 200, {"data": [{"workspaceId": one, **every} for one in ids[: self.workspaces]]}
        _, collection, *rest = path.split("/")
        kind = collection.removesuffix("s")
        if kind == "job":
            return self._job(method, rest, query, body)
        if rest:
            return self._one(method, kind, rest[0], body)
        if method == "POST":
            return self._created(kind, deepcopy(body))
        shown = [self._shown(kind, one) for one in self.objects[kind].values()]
        return 200, {"data": shown}

    def _created(self, kind: str, body: Body) -> tuple[int, Any]:
        for end in ("source", "destination") if kind == "connection" else ():
            if body[f"{end}Id"] not in self.objects[end]:
                return problem(422, f"The {end} does not exist.")
        made = self.add(kind, **body)
        if kind != "connection":
            made[f"{kind}Type"] = made["configuration"].pop(f"{kind}Type")
        return 200, self._shown(kind, made)

    def _one(self, method: str, kind: str, id_: str, body: Any) -> tuple[int, Any]:
        objects = self.objects[kind]
        if id_ not in objects:
            return problem(404, "The requested resource could not be found.")
        if method == "DELETE":
            del objects[id_]
            return 204, None
        if method == "PATCH":
            change = deepcopy(body)
            change.get("configuration", {}).pop(f"{kind}Type", None)
            if "configuration" in change:
                before = objects[id_]["configuration"]
                change["configuration"] = merged(before, change["configuration"])
            objects[id_].update(change)
        return 200, self._shown(kind, objects[id_])

    def _shown(self, kind: str, stored: Body) -> Body:
        """Return an object as some other servers show it: not exactly as it was sent."""
        shown = deepcopy(stored)
        if kind == "connection":
            shown.setdefault("status", "active")
            shown.setdefault("schedule", {"scheduleType": "manual"})
            shown.setdefault("prefix", "")
            shown.setdefault("nonBreakingSchemaUpdatesBehavior", "ignore")
            shown.setdefault("tags", [])
            streams = shown.setdefault("configurations", {}).setdefault("streams", [])
            streams.reverse()
            for stream in streams:
                stream.setdefault("mappers", [])
                stream.get("selectedFields", []).reverse()
            return shown
        connector = f"{kind}-{shown[f'{kind}Type']}"
        shown.setdefault("definitionId", str(uuid.uuid5(uuid.NAMESPACE_DNS, connector)))
        spec = connector_spec(connector) or {}
        configuration = shown["configuration"]
        for path in list(secret_paths(connector, configuration)):
            *outer, last = path
            inner = configuration
            for name in outer:
                inner = inner[name]
            inner[last] = MASK
        for name, schema in spec.get("properties", {}).items():
            if "default" in schema:
                configuration.setdefault(name, schema["default"])
            if schema.get("type") == "integer" and name in configuration:
                configuration[name] = float(configuration[name])
        return shown

    def _job(self, method: str, rest: list[str], query: Query, body: Any) -> tuple[int, Any]:
        if not rest and method == "GET":
            return 200, {"data": self._jobs_listed(query)}
        if not rest:
            connection = self.objects["connection"].get(body["connectionId"])
            if connection is None:
                return problem(404, "The requested resource could not be found.")
            if connection.get("status") == "inactive":
                return problem(422, "The connection is inactive.")
            if any(job["status"] == "running" for job in self.jobs.values()):
                return problem(409, "A sync is already running.")
            return 200, self._job_shown(self.jobs[self.add_job(body["connectionId"])])
        job = self.jobs.get(int(rest[0]))
        if job is None:
            return problem(404, "The requested resource could not be found.")
        if method == "DELETE":
            job["status"] = "cancelled"
        elif job["status"] == "running":
            self._poll(job)
        return 200, self._job_shown(job)

    def _poll(self, job: Body) -> None:
        job["polls"] += 1
        if job["polls"] >= self.polls_until_done:
            job["status"] = self.outcome
            if self.rows_synced is not None:
                job |= {"rowsSynced": self.rows_synced, "bytesSynced": 100 * self.rows_synced}

    def _jobs_listed(self, query: Query) -> list[Body]:
        asked = {name: query[name][0] for name in ("connectionId", "jobType") if name in query}
        return [self._job_shown(job) for job in self.jobs.values() if asked.items() <= job.items()]

    def _job_shown(self, job: Body) -> Body:
        return {name: value for name, value in job.items() if name != "polls"}


def merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


def problem(status: int, detail: str) -> tuple[int, Body]:
    return status, {"status": status, "type": "about:blank", "title": "problem", "detail": detail}
