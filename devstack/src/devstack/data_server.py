"""A program that serves the data in a folder, as a child of this process."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import IO, ClassVar, Self

import psutil

from devstack.errors import DevstackError
from devstack.files import tail, text_from
from devstack.ports import busy_port_message, claim_port
from devstack.processes import wait_for_end, wait_for_exit

__all__ = ["DataServer", "end_in_steps"]

START_SECONDS = 60.0
_POLL_SECONDS = 0.05
# How often another free port is looked for, when another program took the one that was found.
_ATTEMPTS = 5


class DataServer(ABC):
    """One server over the data directory `home`, which runs as long as the `with` block.

    `home` is made if it is missing. `port` is on `host`; 0 takes a free one. The program logs to
    `log`. `throwaway` deletes `home` at the end. Entering the block raises `DevstackError` when the
    server cannot start; the text says what to do.
    """

    name: ClassVar[str]
    """What messages call it."""

    def __init__(
        self, home: Path, *, host: str, port: int, log: Path, throwaway: bool = False
    ) -> None:
        self._home = home.absolute()
        self._host = host
        self._port = port
        self._log = log.absolute()
        self._throwaway = throwaway
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            try:
                self._lock = self._lock_home()
                self._prepare()
            except OSError as error:
                raise DevstackError(f"{self.name}: {error.strerror}: {error.filename}") from error
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the program to end. Return its exit code; None if it runs after `seconds`."""
        return wait_for_exit(self._process, seconds)

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        return tail(self._log, lines)

    def stop(self) -> None:
        """Stop the program and release the data directory. Safe to call twice."""
        if self._process is not None:
            if self._process.poll() is None:
                # It may end by itself meanwhile, and another thread may reap it.
                with contextlib.suppress(psutil.NoSuchProcess):
                    end_in_steps(psutil.Process(self._process.pid), self._steps())
                self._process.wait()
            self._process = None
        if self._lock is not None:
            if self._throwaway:
                shutil.rmtree(self._home, ignore_errors=True)
            self._lock.close()
            self._lock = None

    # -- what each kind of server does ---------------------------------------------------------

    @abstractmethod
    def _lock_home(self) -> IO[str]:
        """Make the data directory, lock it, and return the open file that holds the lock."""

    def _prepare(self) -> None:  # noqa: B027 - Valkey needs nothing
        """Make what the program needs to start."""

    @abstractmethod
    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        """Start the program."""

    @abstractmethod
    def _why_not_ready(self, port: int) -> str | None:
        """Return what it answers to a client instead of serving it; None if it serves."""

    @abstractmethod
    def _steps(self) -> Sequence[tuple[int, float]]:
        """Return the signals that end the program, each with the seconds until the next one."""

    # -- starting ------------------------------------------------------------------------------

    def _start(self) -> None:
        fixed = self._port != 0
        for attempt in range(_ATTEMPTS):
            port = claim_port(self._port, purpose=self.name, host=self._host)
            size = self._log.stat().st_size if self._log.exists() else 0
            self._process = self._launch(port)
            if self._await_ready(self._process, port):
                self._port = port
                return
            if "Address already in use" not in text_from(self._log, size):
                break
            # Another program took the free port that was found.
            if fixed or attempt == _ATTEMPTS - 1:
                raise DevstackError(busy_port_message(port, purpose=self.name, host=self._host))
        raise self._failure("did not start")

    def _await_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        """Wait until the program serves clients. Return false if it ends instead."""
        deadline = time.monotonic() + START_SECONDS
        reason: str | None = ""
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            reason = self._why_not_ready(port)
            if reason is None:
                return True
            time.sleep(_POLL_SECONDS)
        raise self._failure(f"did not answer within {START_SECONDS:.0f} s ({reason})")

    def _failure(self, what: str) -> DevstackError:
        written = self.log_tail()
        if "No space left on device" in written:
            return DevstackError(
                f"{self.name} {what}: the disk of {self._home} is full. Make room and start again."
            )
        return DevstackError(f"{self.name} {what}. The end of {self._log}:\n{written}")


def end_in_steps(process: psutil.Process, steps: Sequence[tuple[int, float]]) -> None:
    """Send signals until the process has ended; each has some seconds to do so."""
    for number, seconds in steps:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        if not wait_for_end([process], seconds):
            return
