"""Run a command with the stack around it, and leave nothing behind when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import psutil

from devstack.errors import DevstackError
from devstack.kernel import adopt_orphans, die_with_parent
from devstack.processes import descendants, end_all
from devstack.stack import Stack

# How long a command may take to stop once told: runs under way are brought to an end first.
GRACE_SECONDS = 40.0
# Between looks at the services and at orphans that have ended.
WATCH_SECONDS = 2.0


def run_with_stack(stack: Stack, command: Sequence[str]) -> int:
    """Start what of the stack is not running, run the command, stop what was started.

    The command gets the settings of ``.env`` in its environment. An interrupt or a request to
    stop goes to the command first; the stack stops after it. A second one does not wait.

    :param stack: a tied one, so that its services end with this process even when it is killed.
    :returns: the command's exit code; 128 and the signal's number when a signal ended it.
    :raises DevstackError: when the stack or the command does not start, or a service ends.
    """
    adopt_orphans()
    orders = _Orders()
    started = stack.up()
    orders.collect()
    try:
        return _Run(stack, command, orders).to_the_end()
    finally:
        stack.stop(started)


class _Orders:
    """Signals that ask us to stop: they end us at once until ``collect``, then they are kept."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.wake: Callable[[], object] = lambda: None
        self._collecting = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: self._take(received))

    def collect(self) -> None:
        self._collecting = True

    def _take(self, number: int) -> None:
        if not self._collecting:
            raise SystemExit(128 + number)
        self.received.append(number)
        self.wake()


class _Run:
    """One run of the command."""

    def __init__(self, stack: Stack, command: Sequence[str], orders: _Orders) -> None:
        self._stack = stack
        self._orders = orders
        self._news = threading.Event()
        orders.wake = self._news.set
        try:
            self._process = subprocess.Popen(
                command,
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
            end_all(self._leftovers(), grace_seconds=5.0)
            code = self._process.wait()
        return code if code >= 0 else 128 - code

    def _watch(self) -> None:
        self._process.wait()
        self._news.set()

    def _wait(self) -> None:
        passed, deadline = 0, float("inf")
        while self._process.poll() is None:
            self._news.wait(WATCH_SECONDS)
            self._news.clear()
            if len(self._orders.received) > passed:
                if passed:
                    return
                self._pass_on(self._orders.received[0])
                passed = len(self._orders.received)
                deadline = time.monotonic() + GRACE_SECONDS
            if time.monotonic() > deadline:
                return
            if not passed:
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
        """What the command has started and not ended, itself included; not the stack."""
        services = set()
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
