"""One service of the stack: how it is started, watched and stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from devstack.errors import DevstackError
from devstack.processes import end_tree
from devstack.stack.records import Record, read_record, spawn, start_of, write_record

START_SECONDS = 120.0
STOP_SECONDS = 45.0
BIGGEST_LOG = 10 * 1024 * 1024
# Services announce these, but the records in run/ leave them out. They are kept elsewhere: in .env,
# and the embedded Airbyte's in its credentials.json.
_SECRET_FACTS = ("password", "token", "client_secret", "client_id")


@dataclass(frozen=True)
class Service:
    """A server of the stack."""

    name: str
    command: tuple[str, ...]
    """Starts it in the foreground. It announces itself with one line of JSON."""
    healthy: Callable[[Mapping[str, Any]], bool]
    """Whether it answers, given what it announced."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for it alone. They are not in `command`, which any user can see."""
    reads: str = ""
    """What it reads once, when it starts."""

    @property
    def fingerprint(self) -> str:
        """A hash of what it is started with. If it changes, the service must be started again."""
        text = json.dumps([self.command, sorted(self.secrets.items()), self.reads])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class State:
    """How a service is now: `running`, `not answering`, `stopped`, or `ended` by itself."""

    word: str
    record: Record | None = None


class Keeper:
    """Starts and stops services, and remembers them in files from one command to the next.

    Records are in `run/` of `folder`, logs in `log/`. The services of a `tied` keeper end when this
    process ends, also when it is killed.
    """

    def __init__(self, folder: Path, *, tied: bool = False) -> None:
        self._folder = folder
        self._tied = tied
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._found: set[str] = set()
        """The services that ran already."""

    def log(self, name: str) -> Path:
        return self._folder / "log" / f"{name}.log"

    def names(self) -> list[str]:
        """Return the names of the services that have a record."""
        return sorted(path.stem for path in (self._folder / "run").glob("*.json"))

    def pids(self) -> list[int]:
        """Return the ids of the processes that this keeper has started."""
        return [child.pid for child in self._children.values()]

    def state(self, service: Service) -> State:
        record = read_record(self._record(service.name))
        if record is None:
            return State("stopped")
        if record.process() is None:
            return State("ended")
        answers = service.healthy(record.facts)
        return State("running" if answers else "not answering", record)

    def ensure(self, service: Service) -> bool:
        """Start the service unless it runs as described. Return whether it had to be started.

        Raises `DevstackError`, with the end of the log, when it does not start.
        """
        state = self.state(service)
        if (
            state.record is not None
            and state.word == "running"
            and state.record.fingerprint == service.fingerprint
        ):
            self._found.add(service.name)
            return False
        self.stop(service.name)
        self._start(service)
        return True

    def facts(self, service: Service) -> Mapping[str, Any]:
        """Return what the running service announced, without secrets."""
        record = read_record(self._record(service.name))
        return {} if record is None else record.facts

    def stop(self, name: str) -> bool:
        """Stop a service and its children. Return whether it was running."""
        path = self._record(name)
        record = read_record(path)
        process = None if record is None else record.process()
        if process is not None:
            end_tree(process, grace_seconds=STOP_SECONDS)
        path.unlink(missing_ok=True)
        child = self._children.pop(name, None)
        if child is not None:
            child.wait()
            _close(child)
        return process is not None

    def ended(self) -> list[str]:
        """Return the services that this keeper started and that have ended by themselves."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    def missing(self) -> list[str]:
        """Return the services that ran already and do not run any more."""
        return sorted(name for name in self._found if not self._runs(name))

    def log_tail(self, name: str, lines: int = 15) -> str:
        with contextlib.suppress(OSError):
            text = self.log(name).read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def _runs(self, name: str) -> bool:
        record = read_record(self._record(name))
        return record is not None and record.process() is not None

    def _record(self, name: str) -> Path:
        return self._folder / "run" / f"{name}.json"

    def _start(self, service: Service) -> None:
        log = self.log(service.name)
        _rotate(log)
        command = [*service.command, *(["--with-parent"] if self._tied else [])]
        environment = {**os.environ, **service.secrets}
        size = log.stat().st_size if log.exists() else 0
        child = spawn(command, environment=environment, log=log, tied=self._tied)
        self._children[service.name] = child
        record = Record(child.pid, start_of(child.pid), service.fingerprint)
        try:
            write_record(self._record(service.name), record)
            facts = _announcement(child)
            if facts is None:
                raise DevstackError(_failure(service.name, log, size))
            shown = {name: value for name, value in facts.items() if name not in _SECRET_FACTS}
            write_record(self._record(service.name), replace(record, facts=shown))
            if not service.healthy(shown):
                raise DevstackError(f"{service.name} does not answer.\n{_end(log, size)}")
        except BaseException:
            # Also after an interrupt: a service that did not become ready must not stay.
            self.stop(service.name)
            raise


def _announcement(child: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Return what a service announces once it is ready; None if it ended or took too long."""
    if child.stdout is None:
        return None
    deadline = time.monotonic() + START_SECONDS
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([child.stdout], [], [], left)[0]:
            return None
        piece = os.read(child.stdout.fileno(), 4096)
        if not piece:
            return None
        line += piece
    child.stdout.close()
    return dict(json.loads(line))


def _failure(name: str, log: Path, offset: int) -> str:
    """Return why a service did not start: its own message, or else the end of its log."""
    text = log.read_bytes()[offset:].decode(errors="replace").strip()
    if text.startswith("devstack: ") and "Traceback" not in text:
        return text.removeprefix("devstack: ")
    return f"{name} did not start.\n" + _end(log, offset)


def _end(log: Path, offset: int) -> str:
    text = log.read_bytes()[offset:].decode(errors="replace")
    return f"The end of {log}:\n" + "\n".join(text.splitlines()[-15:])


def _rotate(log: Path) -> None:
    """Rename a big log, so that a new one begins. Keep one old log, so that no disk fills up."""
    if log.exists() and log.stat().st_size > BIGGEST_LOG:
        log.replace(log.with_suffix(".log.1"))


def _close(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
