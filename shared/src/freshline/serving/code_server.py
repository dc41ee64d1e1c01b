"""Code servers, as a supervisor keeps them: ``dagster api grpc``, one for each location.

Each listens on a socket of its own, and only when it has loaded its code. The `Port` of the
location passes connections to the one that serves.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from freshline.errors import NotReadyError
from freshline.serving.control import Kind, socket_path
from freshline.serving.leash import leashed
from freshline.serving.port import Port
from freshline.serving.readiness import ask_server
from freshline.workspace.entry import Entry
from freshline.workspace.runner import code_server_environment, target_of

__all__ = ["CodeServers"]

_ANSWER_SECONDS: Final = 2.0


class CodeServers:
    """The code servers behind `port`. Their sockets are in `folder`, which others cannot enter."""

    name: Final = "code server"
    kind: Final[Kind] = "server"
    leave_seconds = 70.0  # Dagster's own servers end what they were asked within 60 s
    ending: Final[Sequence[tuple[int, float | None]]] = (
        (signal.SIGTERM, 5.0),
        (signal.SIGKILL, None),
    )

    def __init__(self, port: Port, folder: Path) -> None:
        self._port = port
        self._folder = folder
        self.serves = f"answers on {port.address}"

    def start(self, entry: Entry) -> _CodeServer:
        """Start one that loads `entry`. Raises `ControlError` if its socket has too long a path."""
        python = entry.executable_path or sys.executable
        path = socket_path(self._folder / f"{secrets.token_hex(4)}.sock", "TMPDIR")
        options = {"socket": path, **target_of(entry), "location_name": entry.name}
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]
        # Killed with its supervisor. It has nothing to end well: what it was asked for is asked
        # again.
        child = subprocess.Popen(
            leashed(python, signal.SIGKILL, "-m", "dagster", "api", "grpc", *given),
            cwd=entry.start,
            env=code_server_environment(entry.start, python),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the supervisor, which then ends its servers
        )
        return _CodeServer(child, self._port, path)


class _CodeServer:
    """A code server that was started, with its socket `path`."""

    def __init__(self, child: subprocess.Popen[bytes], port: Port, path: Path) -> None:
        self.child = child
        self._port = port
        self._path = path

    def is_ready(self) -> bool:
        """Return whether it answers, with its code loaded."""
        try:
            answer = ask_server(f"unix:{self._path}", _ANSWER_SECONDS)
        except NotReadyError:
            return False
        return answer.load_error is None

    def take_over(self) -> None:
        """Have it answer whoever connects to the port from now on."""
        self._port.pass_to(self._path)

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self.child.poll() is not None

    def outdated(self) -> None:
        """Return None: it serves what it has loaded until it is asked for something else."""
        return
