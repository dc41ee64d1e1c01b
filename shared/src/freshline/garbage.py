"""Keeps Python's garbage collector off where much is made and kept, and hardly any is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_garbage_collection"]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect no garbage inside.

    Contracts, a history and a plan are many objects, hardly any of them in a reference cycle. To
    make them would set off collections, and each one walks all that is kept: with ten thousand
    assets, that takes a third of the time of a plan, and more than half of that of the gate.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
