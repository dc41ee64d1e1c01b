"""Faults for tests: make the GitHub stand-in slow, broken or exhausted, on request.

Reached at ``/_faults``, which exists only when the stand-in was started with ``--faults``:
``GET`` tells what is still armed and how many requests have come, ``POST`` arms one more fault,
``DELETE`` disarms all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH = "/_faults"


class Exhaustible(Protocol):
    """What the fault ``rate_limit`` works on."""

    def exhaust(self, seconds: float) -> None:
        """Leave the caller without requests for so many seconds."""


class Fault(BaseModel):
    """One fault, for the next ``times`` requests of ``path`` after ``skip`` of them.

    - ``status``: answer ``status`` with GitHub's error shape, ``Retry-After`` when given.
    - ``slow``: answer ``seconds`` late.
    - ``drop``: cut the connection in the middle of the answer.
    - ``garbage``: a proxy's HTML page with status 200.
    - ``rate_limit``: the hour's requests are used up until ``seconds`` from then.
    - ``secondary_limit``: GitHub's abuse limit, 403 with ``Retry-After``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["status", "slow", "drop", "garbage", "rate_limit", "secondary_limit"]
    path: str = Field("", description="part of the request's path; empty: any")
    skip: int = Field(0, ge=0)
    times: int = Field(1, ge=1)
    status: int = Field(503, ge=400, le=599)
    seconds: float = Field(1.0, ge=0, le=3600)
    retry_after: int | None = Field(None, ge=0)


class Faults:
    """The armed faults, and the middleware that applies them."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self.requests: list[str] = []

    def around(self, application: Any, target: Exhaustible) -> Any:
        """The application with faults in front of it and the control path beside it."""

        async def middleware(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await application(scope, receive, send)
            elif scope["path"] == PATH:
                await (await self._control(Request(scope, receive)))(scope, receive, send)
            else:
                self.requests.append(scope["path"])
                fault = self._next(scope["path"])
                if fault is None or not await self._apply(fault, target, scope, receive, send):
                    await application(scope, receive, send)

        return middleware

    async def _control(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self._armed.append(Fault.model_validate_json(await request.body()))
            except ValidationError as error:
                return Response(error.json(include_url=False), 422, media_type="application/json")
        elif request.method == "DELETE":
            self._armed.clear()
        elif request.method != "GET":
            return JSONResponse({"message": "GET, POST or DELETE"}, 405)
        armed = [fault.model_dump() for fault in self._armed]
        return JSONResponse({"armed": armed, "requests": self.requests})

    def _next(self, path: str) -> Fault | None:
        """The first armed fault for this path, counted down."""
        for place, fault in enumerate(self._armed):
            if fault.path not in path:
                continue
            if fault.skip:
                self._armed[place] = fault.model_copy(update={"skip": fault.skip - 1})
                continue
            if fault.times > 1:
                self._armed[place] = fault.model_copy(update={"times": fault.times - 1})
            else:
                del self._armed[place]
            return fault
        return None

    async def _apply(
        self,
        fault: Fault,
        target: Exhaustible,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> bool:
        """Whether the fault has answered the request."""
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return False
        if fault.kind == "rate_limit":
            target.exhaust(fault.seconds)
            return False
        if fault.kind == "drop":
            await _cut(send)
            return True
        response = _broken_answer(fault)
        await response(scope, receive, send)
        return True


def _broken_answer(fault: Fault) -> Response:
    if fault.kind == "garbage":
        return Response("<html><body>Bad gateway</body></html>", 200, media_type="text/html")
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    status, message = fault.status, "Server Error"
    if fault.kind == "secondary_limit":
        status, message = (
            403,
            "You have exceeded a secondary rate limit. Please wait a few minutes.",
        )
        headers.setdefault("Retry-After", str(max(1, round(fault.seconds))))
    body = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    return Response(
        json.dumps({**body, "status": str(status)}), status, headers, "application/json"
    )


async def _cut(send: Send) -> None:
    """Promise more than is sent; the server then closes the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"100000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'[{"starred_at":', "more_body": True})
