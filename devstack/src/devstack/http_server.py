"""Serve an ASGI application on loopback until a stop is asked for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from devstack.errors import DevstackError
from devstack.ports import LOOPBACK
from devstack.serving import StopSignal

START_SECONDS = 30.0
# Seconds that an open request may still take when the server stops. Then its connection is closed.
DRAIN_SECONDS = 3


def serve_http(
    application: Any,
    listener: socket.socket,
    *,
    purpose: str,
    stop: StopSignal,
    ready: Callable[[str], None],
) -> None:
    """Serve `application` until `stop`. Raises `DevstackError` when it does not start.

    `listener` is a bound loopback socket, as `listening_socket` returns it; it is closed at the
    end. `ready` is called with the base URL once requests are answered. `purpose` names the
    server in messages.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    # In a thread uvicorn handles no signals: `stop` handles them.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        _await_started(server, thread, purpose)
        stop.watch(thread.join)
        ready(f"http://{LOOPBACK}:{listener.getsockname()[1]}")
        stop.wait()
    finally:
        server.should_exit = True
        thread.join(DRAIN_SECONDS + 5)
        listener.close()


def _await_started(server: uvicorn.Server, thread: threading.Thread, purpose: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise DevstackError(f"{purpose} did not start; its log says why.")
        time.sleep(0.01)
