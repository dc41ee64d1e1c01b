"""Run a command with the stack around it, and leave nothing behind when it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import psutil

from devstack.errors import DevstackError
from devstack.kernel import adopt_orphans, die_with_parent
from devstack.processes import descendants, end_all
from devstack.stack.stack import Stack

# How long a command may take to stop once told: runs under way are brought to an end first.
GRACE_SECONDS = 40.0
# And how long what has not stopped by then, or was left behind, may take.
STUBBORN_SECONDS = 5.0
# Between looks at the services and at orphans that have ended.
WATCH_SECONDS = 2.0
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_with_stack(stack: Stack, command: Sequence[str]) -> int:
    """Start what of the stack is not running, run the command, stop what was started.

    The command gets the settings of ``.env`` in its environment. An interrupt or a request to
    stop goes to the command first; the stack stops after it. A second one does not wait.

    :param stack: a tied one, so that its services end with this process even when it is killed.
    :returns: the command's exit code; 128 and the signal's number when a signal ended it.
    :raises DevstackError: when the stack or the command does not start, or a service ends.
    """
    # Before anything starts: a mistyped name is to be told at once.
    program = _find(command[0], stack.environment.settings())
    adopt_orphans()
    orders = _Orders()
    started = stack.up()
    orders.collect()
    try:
        return _Run(stack, program, command, orders).to_the_end()
    finally:
        stack.stop(started)


def _find(name: str, settings: Mapping[str, str]) -> str:
    """Return the program that a name stands for: as it is with a slash in it, else from PATH.

    The system's own search fails with "Permission denied" when a folder on PATH may not be
    searched and no other has the program.

    :raises DevstackError: when no folder on PATH has it.
    """
    if os.sep in name:
        return name
    program = shutil.which(name, path=settings.get("PATH", os.defpath))
    if program is None:
        raise DevstackError(f"{name}: {os.strerror(errno.ENOENT)}")
    return program


class _Orders:
    """Signals that ask us to stop: they end us at once until ``collect``, then they are kept."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._collecting = False
        for number in _STOPPING:
            signal.signal(number, self._take)

    def collect(self) -> None:
        # From here on a signal writes its number to the socket, whichever thread it reaches.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._collecting = True

    def wake(self) -> None:
        """End a wait without an order."""
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b"\0")

    def wait(self, seconds: float) -> list[int]:
        """The signals that have come, at most so many seconds from now."""
        if not select.select([self._reader], [], [], seconds)[0]:
            return []
        return [number for number in self._reader.recv(4096) if number in _STOPPING]

    def _take(self, number: int, _: FrameType | None) -> None:
        if not self._collecting:
            raise SystemExit(128 + number)


class _Run:
    """One run of the command."""

    def __init__(self, stack: Stack, program: str, command: Sequence[str], orders: _Orders) -> None:
        self._stack = stack
        self._orders = orders
        try:
            self._process = subprocess.Popen(
                command,
                executable=program,
                env=stack.environment.settings(),
                # A group of its own: the terminal's interrupt reaches us alone, and we pass it on.
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGTERM),
            )
        except OSError as error:
            raise DevstackError(f"{command[0]}: {error.strerror}") from error

    def to_the_end(self) -> int:
        """Wait for the command's end, passing on what we are told."""
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._wait()
        finally:
            code = self._end()
            end_all(self._leftovers(), grace_seconds=STUBBORN_SECONDS)
        return code if code >= 0 else 128 - code

    def _end(self) -> int:
        """The command's exit code; stops it if it still runs.

        Not left to ``end_all``: that would take the exit code away from us.
        """
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STUBBORN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _watch(self) -> None:
        self._process.wait()
        self._orders.wake()

    def _wait(self) -> None:
        told, deadline = False, float("inf")
        while self._process.poll() is None:
            for number in self._orders.wait(WATCH_SECONDS):
                if told:
                    return
                told, deadline = True, time.monotonic() + GRACE_SECONDS
                self._pass_on(number)
            if time.monotonic() > deadline:
                return
            if not told:
                self._check_services()
            self._reap_orphans()

    def _pass_on(self, number: int) -> None:
        """An interrupt goes to the whole group, as from a terminal; others to the command."""
        try:
            if number == signal.SIGINT:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(signal.SIGTERM)
        except ProcessLookupError:
            pass

    def _check_services(self) -> None:
        for name in self._stack.keeper.ended():
            raise DevstackError(
                f"{name} has ended by itself, so the command was stopped. The end of "
                f"{self._stack.keeper.log(name)}:\n{self._stack.keeper.log_tail(name)}"
            )

    def _leftovers(self) -> list[psutil.Process]:
        """What the command has started and not ended; not the stack."""
        services = {self._process.pid}
        for pid in self._stack.keeper.pids():
            services |= {pid, *(process.pid for process in descendants(pid))}
        return [process for process in descendants(os.getpid()) if process.pid not in services]

    def _reap_orphans(self) -> None:
        """Take leave of adopted processes that have ended; nobody else waits for them."""
        own = {self._process.pid, *self._stack.keeper.pids()}
        for process in psutil.Process().children():
            try:
                if process.pid not in own and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)
            except (psutil.Error, ChildProcessError):
                continue
