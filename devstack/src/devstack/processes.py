"""Processes of which we may not be the parent: their descendants, and how to end them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable

import psutil

_POLL_SECONDS = 0.02
# What a killed process may need until the kernel has cleared it away.
_KILL_SECONDS = 10.0


def is_running(process: psutil.Process) -> bool:
    """Whether a process runs. One that has ended and waits for its parent to notice does not.

    The parent may be process 1 of a container, which may take seconds, or never notice.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_for_end(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until processes have ended; return those that still run after so many seconds."""
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if is_running(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        alive = [process for process in alive if is_running(process)]
    return alive


def descendants(pid: int) -> list[psutil.Process]:
    """A process' children and theirs, as far as they can be seen now."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def end_tree(process: psutil.Process, *, grace_seconds: float) -> None:
    """Ask a process to stop, wait, then kill it and whatever it left behind."""
    family = descendants(process.pid)
    _signal([process], signal.SIGTERM)
    alive = wait_for_end([process], grace_seconds)
    family = [*alive, *descendants(process.pid), *family]
    end_all(family, grace_seconds=1.0)


def end_all(processes: Iterable[psutil.Process], *, grace_seconds: float) -> None:
    """Ask processes to stop, wait, then kill those that have not."""
    alive = [process for process in dict.fromkeys(processes) if is_running(process)]
    _signal(alive, signal.SIGTERM)
    alive = wait_for_end(alive, grace_seconds)
    _signal(alive, signal.SIGKILL)
    wait_for_end(alive, _KILL_SECONDS)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            # psutil checks that the id still belongs to the process it stood for.
            process.send_signal(number)
        except psutil.Error:
            continue
