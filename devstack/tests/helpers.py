"""What several tests need: waiting for a condition, free ports, processes seen from outside."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")
DEVSTACK = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "devstack"


def until(condition: Callable[[], T], *, seconds: float = 60.0) -> T:
    """What the condition returned once it was true; fails when it is not within the time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


class InProcess(httpx.BaseTransport):
    """Hands requests to an ASGI application without a network between."""

    def __init__(self, application: Any) -> None:
        self._inner = httpx.ASGITransport(application)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        answer = await self._inner.handle_async_request(request)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def mentioning(text: str) -> list[list[str]]:
    """Command lines of running processes in which this text occurs, such as a data directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(text in word for word in words):
            found.append(words)
    return found
