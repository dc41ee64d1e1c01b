"""Run a program that is killed when its parent ends, also when the parent is killed.

`leash.py PROGRAM ARGUMENT...` asks the kernel for that and then becomes the program. It is a script
that imports little, because it runs before every connector. On other systems than Linux the program
just starts; it ends when it next writes to the pipe that nobody reads any more.
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
