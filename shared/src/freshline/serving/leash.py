"""Starts a program that does not outlive the process that has started it, also if that is killed.

`leashed` makes the command; this file is what it runs, by path. So the Python that is started need
not have freshline, and may be that of any release: only the standard library is used here. Python's
own way, a function that runs between fork and exec, is not safe beside the threads of gRPC.

Usage: ``python leash.py SIGNAL PARENT ARGUMENTS...`` becomes ``python ARGUMENTS...``, which gets
SIGNAL when the process PARENT ends. Linux only: elsewhere it gets none.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import NoReturn

__all__ = ["leashed"]

_PR_SET_PDEATHSIG = 1


def leashed(python: str, number: int, *arguments: str) -> list[str]:
    """Return the command that runs `python` with `arguments`, as a child of this process.

    It gets the signal `number` when this process ends.
    """
    return [python, __file__, str(int(number)), str(os.getpid()), *arguments]


def main(number: int, parent: int, arguments: list[str]) -> NoReturn:
    """Become ``python ARGUMENTS...``."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        if library.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it has ended before it could be noticed
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell is needed


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
