"""Keeps the workers of one machine going: one for each location, and a new one when files change.

A new worker is started beside the old one. When it takes runs, the old one is told to end: it takes
no more runs, and ends those that it has begun.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from freshline.engine.loaded_files import LoadedFiles
from freshline.words import span
from freshline.workspace.entry import Entry
from freshline.workspace.runner import FIELDS, code_server_environment

__all__ = ["Supervisor"]

_LOOK_EVERY: Final = 1.0
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds until a worker that has ended is started again, after one failure, two, ..."""
_SETTLED_AFTER: Final = 60.0
"""Seconds after which a worker that has ended had not failed to start."""


@dataclass
class _Process:
    """A worker that was started."""

    child: subprocess.Popen[bytes]
    report: int
    """A file descriptor, from which what it has loaded can be read; -1: it was read."""
    started_at: float
    files: LoadedFiles | None = None
    """None: it does not take runs yet."""
    _text: bytes = b""

    def read_report(self) -> bool:
        """Return whether it takes runs by now."""
        while self.report >= 0:
            try:
                piece = os.read(self.report, 65_536)
            except BlockingIOError:
                return False
            self._text += piece
            if not piece or piece.endswith(b"\n"):
                os.close(self.report)
                self.report = -1
                if piece:
                    self.files = LoadedFiles.from_json(json.loads(self._text))
        return self.files is not None


@dataclass
class _Served:
    """A location, and its workers."""

    entry: Entry
    current: _Process | None = None
    """The one that takes runs."""
    next: _Process | None = None
    """One that was started to take its place."""
    leaving: list[_Process] = field(default_factory=list)
    """Those that end what they have begun."""
    failures: int = 0
    retry_at: float = 0.0


class Supervisor:
    """Starts, watches, renews and ends the workers of some locations.

    `entries` are the locations; each worker can make `places` runs at a time. `say` is given one
    line for everything that happens.
    """

    def __init__(
        self, entries: Sequence[Entry], broker_url: str, places: int, say: Callable[[str], None]
    ) -> None:
        self._served = [_Served(entry) for entry in entries]
        self._broker_url = broker_url
        self._places = places
        self._say = say
        self._ending = False

    def run(self, drain_seconds: float | None) -> None:
        """Keep the workers going until SIGTERM or SIGINT, then end them.

        Runs that have begun then have `drain_seconds` to end (None: as long as they take). After
        that they are interrupted, and fail.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        while not self._ending:
            for served in self._served:
                self._look(served)
            time.sleep(_LOOK_EVERY)
        self._end_all(drain_seconds)

    def _end(self, *_: object) -> None:
        self._ending = True

    def _look(self, served: _Served) -> None:
        now, name = time.monotonic(), served.entry.name
        served.leaving = [one for one in served.leaving if one.child.poll() is None]
        if served.next and served.next.read_report():
            self._say(f"{name}: takes runs, {span(now - served.next.started_at)} after its start")
            self._replace(served)
        elif served.next and served.next.child.poll() is not None:
            self._note_failure(served, served.next, now)
            served.next = None
        if served.current and served.current.child.poll() is not None:
            self._note_failure(served, served.current, now)
            served.current = None
        if served.next is None and now >= served.retry_at:
            changed = served.current and served.current.files and served.current.files.changed()
            if changed:
                self._say(f"{name}: {changed} has changed; a new worker loads it")
            if changed or served.current is None:
                served.next = self._start(served.entry)

    def _replace(self, served: _Served) -> None:
        if served.current:
            served.current.child.terminate()
            served.leaving.append(served.current)
        served.current, served.next, served.failures = served.next, None, 0

    def _note_failure(self, served: _Served, process: _Process, now: float) -> None:
        settled = process.files is not None and now - process.started_at > _SETTLED_AFTER
        served.failures = 0 if settled else served.failures + 1
        pause = _PAUSES[min(served.failures, len(_PAUSES) - 1)]
        served.retry_at = now + pause
        did = "its worker" if process.files else "its worker did not load:"
        self._say(f"{served.entry.name}: {did} {_ending(process.child)}; next one in {span(pause)}")

    def _start(self, entry: Entry) -> _Process:
        report, write = os.pipe()
        os.set_blocking(report, False)
        python = entry.executable_path or sys.executable
        arguments = {
            "name": f"{entry.name}-{secrets.token_hex(3)}@{socket.gethostname()}",
            "location": entry.name,
            "target": _target(entry),
            "places": self._places,
            "report": write,
        }
        child = subprocess.Popen(
            [python, "-m", "freshline.engine.worker", json.dumps(arguments)],
            cwd=entry.start,
            env={
                **code_server_environment(entry.start, python),
                "FRESHLINE_BROKER_URL": self._broker_url,
            },
            pass_fds=(write,),
            start_new_session=True,  # Ctrl-C is for this process, which then ends its workers
        )
        os.close(write)
        return _Process(child, report, time.monotonic())

    # --- the end --------------------------------------------------------------------------

    def _end_all(self, drain_seconds: float | None) -> None:
        children = [
            one.child
            for served in self._served
            for one in (served.current, served.next, *served.leaving)
            if one
        ]
        for number, seconds in (
            (signal.SIGTERM, drain_seconds),
            (signal.SIGQUIT, 5.0),
            (signal.SIGKILL, None),
        ):
            for child in children:
                if child.poll() is None:
                    child.send_signal(number)
            if _wait_for(children, seconds):
                return


def _wait_for(children: Sequence[subprocess.Popen[bytes]], seconds: float | None) -> bool:
    """Wait until all `children` have ended, for at most `seconds`. Return whether they have."""
    until = None if seconds is None else time.monotonic() + seconds
    for child in children:
        try:
            child.wait(None if until is None else max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
    return True


def _target(entry: Entry) -> Mapping[str, Any]:
    """Return the fields of Dagster's `LoadableTargetOrigin` for `entry`."""
    directory = entry.working_directory
    return {
        FIELDS[entry.kind]: entry.target,
        "attribute": entry.attribute,
        "working_directory": str(entry.start / directory) if directory else str(entry.start),
    }


def _ending(child: subprocess.Popen[bytes]) -> str:
    status = child.returncode
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
