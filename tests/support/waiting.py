"""Await a condition instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], what: str, *, seconds: float, every: float = 0.5
) -> T:
    """Return the first truthy answer of `condition`.

    Raises:
        TimeoutError: there was none within `seconds`; names `what` and the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {seconds:.0f} s still not: {what} (last: {answer!r})")
        time.sleep(every)
