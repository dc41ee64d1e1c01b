"""The exporter's HTTP server."""

from __future__ import annotations

import socket
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from freshline.errors import CommandError
from freshline.metrics.exporter import Exporter
from freshline.metrics.page import Page, write_page

__all__ = ["MetricsServer"]

_INDEX: Final = Page(
    "text/html; charset=utf-8",
    b'<!doctype html><title>freshline</title><h1>freshline</h1><a href="/metrics">Metrics</a>\n',
)


class MetricsServer(ThreadingHTTPServer):
    """Serves what `exporter` knows at ``/metrics``, on `host` and `port`.

    Raises `CommandError` if that address cannot be had.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, exporter: Exporter) -> None:
        self.exporter = exporter
        try:
            (self.address_family, *_), *_ = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise CommandError(
                f"cannot listen on {host} port {port}: {error.strerror}; give another --port or "
                "--host."
            ) from None

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self.server_address[:2]
        named = f"[{host!s}]" if self.address_family is socket.AF_INET6 else str(host)
        return f"http://{named}:{port}/metrics"


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._send_metrics()
        elif path == "/":
            self._send(HTTPStatus.OK, _INDEX)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the parent
        """Log no scrape: there are thousands a day."""

    def _send_metrics(self) -> None:
        try:
            page = write_page(self.server.exporter.families(), self.headers.get("Accept", ""))
        except Exception:  # noqa: BLE001
            # Prometheus then has `up` 0, and whoever looks for the cause finds it in the log.
            traceback.print_exc()
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._send(HTTPStatus.OK, page)

    def _send(self, status: HTTPStatus, page: Page) -> None:
        self.send_response(status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.text)))
        self.end_headers()
        self.wfile.write(page.text)
