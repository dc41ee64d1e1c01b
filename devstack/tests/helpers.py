"""What several tests need: waiting for a condition, ports, other processes."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")
DEVSTACK = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "devstack"


def until(condition: Callable[[], T], *, seconds: float = 90.0) -> T:
    """Wait until `condition` returns something true, and return that; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


class InProcess(httpx.BaseTransport):
    """Hands requests to an ASGI application in this process, without a network."""

    def __init__(self, application: Any) -> None:
        self._inner = httpx.ASGITransport(application)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        answer = await self._inner.handle_async_request(request)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


class ReservedPort:
    """A loopback port for a server that a test starts, kept for it until `release`.

    Linux gives a port to two sockets when both say SO_REUSEADDR and one of them does not listen;
    a program that asks for any free port, such as a test that runs at the same time, gets another.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self.release()

    def release(self) -> None:
        self._socket.close()


def command_lines_with(text: str) -> list[list[str]]:
    """Return the command lines of running processes that contain a text, such as a directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(text in word for word in words):
            found.append(words)
    return found
