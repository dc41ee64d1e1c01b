"""Two calls of the Linux kernel that Python has no function for.

On other systems they do nothing. They are needed only when a process is killed: otherwise every
process has the time to stop its children.
"""

from __future__ import annotations

import ctypes
import sys

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def die_with_parent(number: int) -> None:
    """Let the kernel send this process a signal when its parent ends, even by SIGKILL."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, number)


def adopt_orphans() -> None:
    """Make this process the new parent of every descendant whose own parent ends."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
