"""Run a program that dies with its parent, however violently that dies.

``leash.py PROGRAM ARGUMENT...`` asks the kernel for a SIGKILL at the parent's death and becomes
the program. A module that is a script, and imports almost nothing, because it runs before every
connector. Without Linux's ``prctl`` the program simply starts: then it ends at its next write to
the pipe that nobody reads any more.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent ended before the program began")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - by list, as everywhere


main()
