"""Faults on demand, for the tests of Airbyte's clients. The server has them only with `--faults`.

`POST /faults` with `{"kind": ..., "times": 1, "path": "regular expression", ...}` arms a fault,
`GET /faults` lists the armed faults, `DELETE /faults` disarms all. Kinds:

    slow            the answer comes after `seconds`
    error           the answer is `status` (500) with a problem document
    html            the answer is `status` (502) with a proxy's HTML page
    drop            the answer breaks off; if `after` is true, the request is carried out before
    rate_limit      the answer is 429 with `Retry-After: seconds`
    expired         every token issued so far is refused
    job_failed      the next sync fails after `after_records` records
    worker_killed   the worker of the next sync is killed after `after_records` records
"""

from __future__ import annotations

import re
import threading
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devstack.airbyte.auth import Gate
from devstack.airbyte.errors import Problem

_JOB_KINDS = ("job_failed", "worker_killed")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


class Fault(BaseModel):
    """One armed fault; it disarms itself after `times` requests or jobs."""

    kind: Literal[
        "slow", "error", "html", "drop", "rate_limit", "expired", "job_failed", "worker_killed"
    ]
    times: int = Field(1, ge=1, le=1_000_000)
    method: str = ""
    path: Annotated[str, AfterValidator(_pattern)] = ""
    status: int = Field(0, ge=0, le=599)
    seconds: float = Field(1, ge=0, le=600)
    after: bool = False
    after_records: int = Field(0, ge=0, le=2**31)


class Faults(BaseModel):
    data: list[Fault]


class Switchboard:
    """The faults that are armed. Thread-safe."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._armed: list[Fault] = []
        self._lock = threading.Lock()

    def arm(self, fault: Fault) -> None:
        if fault.kind == "expired":
            self._gate.expire_tokens()
            return
        with self._lock:
            self._armed.append(fault)

    def disarm(self) -> None:
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[Fault]:
        with self._lock:
            return [fault.model_copy() for fault in self._armed]

    def job_fault(self) -> dict[str, Any]:
        """Return the fault for the job that starts now, and count it down; empty if none is."""
        fault = self._take(lambda one: one.kind in _JOB_KINDS)
        return {"kind": fault.kind, "after_records": fault.after_records} if fault else {}

    def request_fault(self, method: str, path: str) -> Fault | None:
        """Return the fault for this request, and count it down; None if none is armed."""
        return self._take(
            lambda one: (
                one.kind not in _JOB_KINDS
                and one.method.upper() in ("", method)
                and re.search(one.path, path) is not None
            )
        )

    def _take(self, fits: Any) -> Fault | None:
        with self._lock:
            for fault in self._armed:
                if fits(fault):
                    fault.times -= 1
                    if fault.times == 0:
                        self._armed.remove(fault)
                    return fault
        return None

    def router(self) -> APIRouter:
        """Return the routes of `/faults`."""
        router = APIRouter(tags=["faults"])

        @router.get("/faults", response_model=Faults)
        def listed() -> Faults:
            return Faults(data=self.armed())

        @router.post("/faults", response_model=Fault)
        def arm(fault: Fault) -> Fault:
            # A copy: the armed one counts down while this answer is being written.
            self.arm(fault.model_copy())
            return fault

        @router.delete("/faults", response_model=Faults)
        def disarm() -> Faults:
            self.disarm()
            return Faults(data=[])

        return router


class FaultMiddleware:
    """Answers requests with the faults that are armed for them."""

    def __init__(self, app: ASGIApp, switchboard: Switchboard) -> None:
        self._app = app
        self._switchboard = switchboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/faults":
            await self._app(scope, receive, send)
            return
        fault = self._switchboard.request_fault(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "slow":
            await anyio.sleep(fault.seconds)
            await self._app(scope, receive, send)
        elif fault.kind == "drop":
            if fault.after:
                await self._app(scope, receive, _nowhere)
            await _break_off(send)
        else:
            await _answer(fault)(scope, receive, send)


def _answer(fault: Fault) -> Response:
    if fault.kind == "html":
        page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
        return HTMLResponse(page, fault.status or 502)
    if fault.kind == "rate_limit":
        response = Problem(429, "too-many-requests", "Too many requests.").response()
        response.headers["Retry-After"] = str(int(fault.seconds))
        return response
    detail = "An unexpected problem has occurred."
    return Problem(fault.status or 500, "unexpected-problem", detail).response()


async def _nowhere(_: Message) -> None:
    pass


async def _break_off(send: Send) -> None:
    """Send the beginning of a body and end, so that the server closes the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
