"""A program and all that it starts: begun in a process group of its own, and ended together.

A shell without job control starts what is behind `&` with SIGINT ignored. That is inherited, also
by programs that stop on SIGINT alone, as Dagster does: it takes SIGTERM for a SIGINT. Such a
program would run for ever. So a family starts with SIGINT as it is by default.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

INTERRUPT_SECONDS = 15.0
"""What a family may take to stop by itself. `dagster dev` takes 3 to 8 s, longer on a busy machine;
whoever asked to stop waits for at most 30 s, in which the stack stops as well."""
_POLL_SECONDS = 0.1
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """The signals to stop that this process got since the object was made, in their order.

    They do nothing but go into `numbers`. A SIGHUP that is ignored, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        for number in _STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.numbers.append(number)


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program as the first of a family. `options` are those of `subprocess.Popen`."""
    return subprocess.Popen(
        command,
        # Ctrl-C in the terminal reaches this process alone, which then ends the family.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def wait_for(first: subprocess.Popen[bytes], requests: StopRequests) -> int:
    """Wait until the program ends or a signal to stop comes, then end its family.

    A further signal kills what still runs. Returns the program's exit status, or 128 plus the
    number of the signal that ended it.
    """
    while first.poll() is None and not requests.numbers:
        time.sleep(_POLL_SECONDS)
    return end(first, requests)


def end(first: subprocess.Popen[bytes], requests: StopRequests | None = None) -> int:
    """Interrupt a family as Ctrl-C would, and kill what still runs after `INTERRUPT_SECONDS`.

    With `requests`, a signal beyond those that have come by now kills at once. Returns as
    `wait_for` does.
    """
    known = len(requests.numbers) if requests else 0
    deadline = time.monotonic() + INTERRUPT_SECONDS
    _send(first, signal.SIGINT)
    try:
        while first.poll() is None or _members(first):
            if time.monotonic() > deadline or (requests and len(requests.numbers) > known):
                break
            time.sleep(_POLL_SECONDS)
    finally:
        _send(first, signal.SIGKILL)
        code = first.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program and end its family after the block, also if a SIGTERM ends the block."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    first = start(command, **options)
    try:
        yield first
    finally:
        signal.signal(signal.SIGTERM, before)
        end(first)


def _send(first: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(first.pid, number)


def _members(first: subprocess.Popen[bytes]) -> set[int]:
    """Return the ids of the family's processes that have not ended.

    Those that wait for their parent to reap them have ended. Without /proc, as on macOS, there are
    none: the family is over as soon as its first program is.
    """
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) == first.pid and state != "Z":
                found.add(int(folder.name))
    return found
