"""Code servers, as a supervisor keeps them: ``dagster api grpc``, one for each location.

A server binds its port only when it has loaded its code. A new one binds the port that the old one
has, so that both answer for a moment; then the old one is told to leave. Which one has answered is
known by an id that each gets when it is started.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from freshline.errors import NotReadyError
from freshline.serving.control import Kind
from freshline.serving.leash import leashed
from freshline.serving.readiness import ask_server
from freshline.workspace.entry import Entry
from freshline.workspace.runner import code_server_environment, target_of

__all__ = ["CodeServers"]

_ANSWER_SECONDS: Final = 2.0
_ENOUGH: Final = 16
"""How many answers of others show that a server no longer listens. As long as two servers listen,
the kernel gives each new connection to either: all of these to one, once in 65,000 times."""


class CodeServers:
    """The code servers that listen on `host` and `port`."""

    name: Final = "code server"
    kind: Final[Kind] = "server"
    leave_seconds: Final = 10.0
    ending: Final[Sequence[tuple[int, float | None]]] = (
        (signal.SIGTERM, 5.0),
        (signal.SIGKILL, None),
    )

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self.serves = f"answers on {host}:{port}"

    def start(self, entry: Entry) -> _CodeServer:
        """Start one that loads `entry`."""
        python = entry.executable_path or sys.executable
        server_id = f"{entry.name}-{secrets.token_hex(8)}"
        options = {"host": self._host, "port": self._port, **target_of(entry)}
        options |= {"location_name": entry.name, "fixed_server_id": server_id}
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]
        # Killed with its supervisor, whose successor must find the port free. It has nothing to end
        # well: what it was asked for is asked again.
        child = subprocess.Popen(
            leashed(python, signal.SIGKILL, "-m", "dagster", "api", "grpc", *given),
            cwd=entry.start,
            env=code_server_environment(entry.start, python),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the supervisor, which then ends its servers
        )
        return _CodeServer(child, self._host, self._port, server_id)


class _CodeServer:
    """A code server that was started."""

    def __init__(
        self, child: subprocess.Popen[bytes], host: str, port: int, server_id: str
    ) -> None:
        self.child = child
        self._host = host
        self._port = port
        self._id = server_id

    def is_ready(self) -> bool:
        """Return whether it answers, with its code loaded."""
        try:
            answer = ask_server(self._host, self._port, _ANSWER_SECONDS)
        except NotReadyError:
            return False
        return answer.server_id == self._id and answer.load_error is None

    def has_left(self) -> bool:
        """Return whether others answer in its place, each time."""
        if self.has_ended():
            return True
        try:
            return all(
                ask_server(self._host, self._port, _ANSWER_SECONDS).server_id != self._id
                for _ in range(_ENOUGH)
            )
        except NotReadyError:
            return False

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self.child.poll() is not None

    def outdated(self) -> None:
        """Return None: it serves what it has loaded until it is asked for something else."""
        return
