"""Two things that only Linux offers, and that Python has no name for.

Elsewhere both do nothing: what they back up (signals handled in order) works without them.
"""

from __future__ import annotations

import ctypes
import sys

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def die_with_parent(number: int) -> None:
    """Have this process sent a signal when its parent ends, even by SIGKILL."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none is lost from sight."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
