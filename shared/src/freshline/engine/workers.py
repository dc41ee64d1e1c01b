"""Workers, as a supervisor keeps them: one for each location, and a new one when files change."""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
from typing import Final

from freshline.engine.loaded_files import LoadedFiles
from freshline.serving.control import Kind
from freshline.serving.leash import leashed
from freshline.workspace.entry import Entry
from freshline.workspace.runner import code_server_environment, target_of

__all__ = ["Workers"]

_PYTHON_OPTIONS: Final = ("-X", "frozen_modules=off")
"""dbt looks at the stack of its callers for each of its flags. If the module that has begun them
all has no file, Python searches all modules for it each time: a tenth of a second in each run."""


class Workers:
    """The workers that take runs from the broker of `broker_url`.

    Each makes up to `places` runs at a time. When the supervisor ends, runs that have begun have
    `drain_seconds` to end (None: as long as they take). After that they are interrupted, and fail.
    """

    name: Final = "worker"
    serves: Final = "takes runs"
    kind: Final[Kind] = "worker"
    leave_seconds: Final = math.inf

    def __init__(self, broker_url: str, places: int, drain_seconds: float | None) -> None:
        self._broker_url = broker_url
        self._places = places
        self.ending: Final = (
            (int(signal.SIGTERM), drain_seconds),
            (int(signal.SIGQUIT), 5.0),
            (int(signal.SIGKILL), None),
        )

    def start(self, entry: Entry) -> _Worker:
        """Start one that loads `entry`."""
        report, write = os.pipe()
        os.set_blocking(report, False)
        python = entry.executable_path or sys.executable
        arguments = {
            "name": f"{entry.name}-{secrets.token_hex(3)}@{socket.gethostname()}",
            "location": entry.name,
            "target": target_of(entry),
            "places": self._places,
            "report": write,
        }
        try:
            child = subprocess.Popen(
                # Without a supervisor it takes no more runs, and ends those that it has begun.
                leashed(
                    python,
                    signal.SIGTERM,
                    *_PYTHON_OPTIONS,
                    *("-m", "freshline.engine.worker", json.dumps(arguments)),
                ),
                cwd=entry.start,
                env={
                    **code_server_environment(entry.start, python),
                    "FRESHLINE_BROKER_URL": self._broker_url,
                },
                pass_fds=(write,),
                start_new_session=True,  # Ctrl-C is for the supervisor, which then ends its workers
            )
        except OSError:
            os.close(report)
            raise
        finally:
            os.close(write)
        return _Worker(child, report)


class _Worker:
    """A worker that was started. It says through the pipe `report` what it has loaded."""

    def __init__(self, child: subprocess.Popen[bytes], report: int) -> None:
        self.child = child
        self._report = report
        """The file descriptor; -1: it was read."""
        self._text = b""
        self._files: LoadedFiles | None = None
        """None: it does not take runs yet."""

    def is_ready(self) -> bool:
        """Return whether it takes runs by now."""
        while self._report >= 0:
            try:
                piece = os.read(self._report, 65_536)
            except BlockingIOError:
                return False
            self._text += piece
            if not piece or piece.endswith(b"\n"):
                self._close()
                if piece:
                    self._files = LoadedFiles.from_json(json.loads(self._text))
        return self._files is not None

    def take_over(self) -> None:
        """Do nothing: it takes runs from the broker by itself."""

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        ended = self.child.poll() is not None
        if ended:
            self._close()
        return ended

    def outdated(self) -> str | None:
        """Return which file has changed since it was loaded; None: none has."""
        changed = self._files.changed() if self._files else None
        return f"{changed} has changed" if changed else None

    def _close(self) -> None:
        if self._report >= 0:
            os.close(self._report)
            self._report = -1
