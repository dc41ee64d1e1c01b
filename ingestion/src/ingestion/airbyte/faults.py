"""What can go wrong with a request to Airbyte, and what people can do about it."""

from __future__ import annotations

import email.utils
import time
from typing import Final

import httpx

from ingestion.errors import AirbyteError

__all__ = ["RetryableError", "advice", "reason", "retry_after"]

ADVICE: Final = {
    400: "Airbyte refused the request: correct the declaration in connections.py",
    403: "these credentials may not do this: give the application the editor's role",
    404: "it is not in Airbyte (any more): run the command again to see what is left",
    409: "Airbyte is busy with the same object: try again when it is done",
    422: "Airbyte refused the request: correct the declaration in connections.py",
    429: "Airbyte asks for fewer requests: try again later",
}


class RetryableError(Exception):
    """An attempt failed and may be repeated after `pause` seconds (None: after the usual pause).

    It never leaves the client, which raises `error` when it gives up.
    """

    def __init__(self, error: AirbyteError, pause: float | None = None) -> None:
        self.error = error
        self.pause = pause


def advice(status: int, path: str, credentials: str) -> str:
    """Return what to do about an answer of that status; `credentials` is the advice for 401."""
    if status == 401:
        return f"Airbyte refused the credentials: {credentials}"
    if status == 404 and path.count("/") < 2:
        return "no public API there: check AIRBYTE_URL (host only, without /api/public/v1)"
    if status >= 500:
        return "Airbyte is in trouble: try again, and look at its server's log if it stays so"
    return ADVICE.get(status, "Airbyte gave an unexpected answer: check AIRBYTE_URL")


def reason(fault: Exception) -> str:
    """Return the text of an exception on one line, or its name if it has no text."""
    return " ".join(str(fault).split()) or type(fault).__name__


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds for which the server asks to wait; None if it does not say."""
    value = response.headers.get("retry-after", "")
    if value.isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, until.timestamp() - time.time())
