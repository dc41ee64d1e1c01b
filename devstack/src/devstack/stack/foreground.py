"""Run a command while the stack runs, and stop everything when the command has ended."""

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

# Seconds that a command may take to stop after a signal: Dagster first ends its runs.
GRACE_SECONDS = 40.0
# Seconds that processes may take if they have not stopped by then or were left by the command.
STUBBORN_SECONDS = 5.0
# Seconds between two checks of the services. Orphans that have ended are reaped as often.
WATCH_SECONDS = 2.0
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_with_stack(stack: Stack, command: Sequence[str]) -> int:
    """Start the services that do not run, run the command, stop the services that were started.

    The command has the settings of `.env` in its environment. A signal to stop is passed on to the
    command, and the stack stops after it; a second signal stops both at once. `stack` must be tied:
    its services end when this process ends, also when it is killed.

    Returns the command's exit code, or 128 plus the number of the signal that ended it. Raises
    `DevstackError` when the stack or the command does not start, or when a service ends.
    """
    # Find the program before anything starts, so that a mistyped name fails at once.
    program = _find(command[0], stack.environment.settings())
    adopt_orphans()
    requests = _StopRequests()
    started = stack.up()
    requests.collect()
    with contextlib.ExitStack() as leaving:
        try:
            return _Run(stack, program, command, requests, leaving).to_the_end()
        finally:
            stack.stop(started)


def _find(name: str, settings: Mapping[str, str]) -> str:
    """Return the path of a program on PATH; return a name that has a slash as it is.

    Raises `DevstackError` when no folder on PATH has it. The system's own search would fail with
    "Permission denied" if the user may not search one of these folders.
    """
    if os.sep in name:
        return name
    program = shutil.which(name, path=settings.get("PATH", os.defpath))
    if program is None:
        raise DevstackError(f"{name}: {os.strerror(errno.ENOENT)}")
    return program


class _StopRequests:
    """The signals to stop. Until `collect` is called, each ends this process at once."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._collecting = False
        for number in _STOPPING:
            signal.signal(number, self._handle)

    def collect(self) -> None:
        """Keep signals from now on, for `wait` to return them."""
        # From here on a signal writes its number to the socket, whichever thread it interrupts.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._collecting = True

    def wake(self) -> None:
        """End the wait, without a signal."""
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b"\0")

    def wait(self, seconds: float) -> list[int]:
        """Wait at most `seconds` for signals and return those that have come."""
        if not select.select([self._reader], [], [], seconds)[0]:
            return []
        return [number for number in self._reader.recv(4096) if number in _STOPPING]

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self._collecting:
            raise SystemExit(128 + number)


class _Run:
    """One run of the command."""

    def __init__(
        self,
        stack: Stack,
        program: str,
        command: Sequence[str],
        requests: _StopRequests,
        leaving: contextlib.ExitStack,
    ) -> None:
        self._stack = stack
        self._requests = requests
        self._leaving = leaving
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
        """Wait for the command's end and return its exit code; pass signals on to it."""
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._wait()
        finally:
            code = self._end()
            end_all(self._leftovers(), grace_seconds=STUBBORN_SECONDS)
        return code if code >= 0 else 128 - code

    def _end(self) -> int:
        """Stop the command if it still runs, and return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STUBBORN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _watch(self) -> None:
        self._process.wait()
        self._requests.wake()

    def _wait(self) -> None:
        asked, deadline = False, float("inf")
        while self._process.poll() is None:
            for number in self._requests.wait(WATCH_SECONDS):
                if asked:
                    return
                asked, deadline = True, time.monotonic() + GRACE_SECONDS
                self._pass_on(number)
                self._leaving.enter_context(self._stack.leaving())
            if time.monotonic() > deadline:
                return
            if not asked:
                self._check_services()
            self._reap_orphans()

    def _pass_on(self, number: int) -> None:
        """Send an interrupt to the command's group, as a terminal does; others to it alone."""
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
        for name in self._stack.missing():
            raise DevstackError(
                f"{name} was stopped by the command that had started it, or by another one, so the "
                "command was stopped. Start it again."
            )

    def _leftovers(self) -> list[psutil.Process]:
        """Return the processes that the command has started and not ended."""
        services = {self._process.pid}
        for pid in self._stack.keeper.pids():
            services |= {pid, *(process.pid for process in descendants(pid))}
        return [process for process in descendants(os.getpid()) if process.pid not in services]

    def _reap_orphans(self) -> None:
        """Reap adopted processes that have ended: this process is their parent now."""
        own = {self._process.pid, *self._stack.keeper.pids()}
        for process in psutil.Process().children():
            try:
                if process.pid not in own and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)
            except (psutil.Error, ChildProcessError):
                continue
