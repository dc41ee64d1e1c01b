"""A server that receives webhooks, for tests of what sends them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Webhook:
    """What was received: `received` has the path and the parsed JSON of each request, in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[tuple[str, Any]] = []
        self.times: list[float] = []
        """When each of them was received: UTC, epoch seconds."""
        self.status = 200
        """With which every request is answered."""

    @property
    def host(self) -> str:
        """The host and the port, as in a URL."""
        return f"127.0.0.1:{self.port}"

    def at(self, path: str) -> list[Any]:
        """Return what was received at a path."""
        return [content for received_at, content in list(self.received) if received_at == path]


@contextmanager
def running_webhook() -> Iterator[Webhook]:
    """Run a server on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if webhook.status == 200:
                webhook.times.append(time.time())
                webhook.received.append((self.path, content))
            self.send_response(webhook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook = Webhook(server.server_address[1])
        Thread(target=server.serve_forever, daemon=True).start()
        yield webhook
        server.shutdown()
