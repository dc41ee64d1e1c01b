"""A worker that is back soon after its broker is."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer

__all__ = ["ReconnectingConsumer"]

_PAUSE: Final = 2.0
"""Seconds between two attempts to reach the broker. Celery's own pauses grow to 30 s."""


class ReconnectingConsumer(Consumer):
    """Celery's consumer, with pauses of the same length between attempts to connect."""

    def ensure_connected(self, conn: Any) -> Any:
        """Return `conn` as soon as it is connected."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=_PAUSE, interval_step=0, interval_max=_PAUSE
        )
        return super().ensure_connected(conn)
