"""Find, check and end processes, also those that are not children of this process."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterable

import psutil

_POLL_SECONDS = 0.02
# Seconds in which the kernel removes a killed process.
_KILL_SECONDS = 10.0


def is_running(process: psutil.Process) -> bool:
    """Return whether a process runs.

    A process that has ended does not run, even if its parent has not reaped it yet. The parent may
    be process 1 of a container, which reaps after seconds or never.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_for_end(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait at most `seconds` until processes have ended; return those that still run then."""
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if is_running(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        alive = [process for process in alive if is_running(process)]
    return alive


def wait_for_exit(process: subprocess.Popen[bytes] | None, seconds: float | None) -> int | None:
    """Wait at most `seconds` until a child has ended; None waits for as long as it takes.

    Return its exit code, 0 if there is none, and None if it still runs then.
    """
    if process is None:
        return 0
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def descendants(pid: int) -> list[psutil.Process]:
    """Return the children of a process, their children and so on; none if it has ended."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def end_tree(process: psutil.Process, *, grace_seconds: float) -> None:
    """Ask a process to stop, wait for it (seconds), then end it and all of its descendants."""
    family = descendants(process.pid)
    _signal([process], signal.SIGTERM)
    alive = wait_for_end([process], grace_seconds)
    family = [*alive, *descendants(process.pid), *family]
    end_all(family, grace_seconds=1.0)


def end_all(processes: Iterable[psutil.Process], *, grace_seconds: float) -> None:
    """Ask processes to stop, wait for them (seconds), then kill those that still run."""
    alive = [process for process in dict.fromkeys(processes) if is_running(process)]
    _signal(alive, signal.SIGTERM)
    alive = wait_for_end(alive, grace_seconds)
    _signal(alive, signal.SIGKILL)
    wait_for_end(alive, _KILL_SECONDS)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            # psutil checks first that the process id does not belong to another process now.
            process.send_signal(number)
        except psutil.Error:
            continue
