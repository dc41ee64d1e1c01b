"""Waiting for a condition, instead of sleeping for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], what: str, *, seconds: float, every: float = 0.5
) -> T:
    """Call `condition` again and again, `every` seconds apart, until its answer is true; return it.

    Raise `TimeoutError` after `seconds`; its text has `what` and the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {seconds:.0f} s still not: {what} (last: {answer!r})")
        time.sleep(every)
