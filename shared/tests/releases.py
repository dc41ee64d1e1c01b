"""A host of one location, `one`: its releases, and the services that keep it going there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from engine_teams import await_end, until
from freshline.errors import NotReadyError
from freshline.serving.control import Conversation
from freshline.serving.readiness import ask_server

__all__ = [
    "BIN",
    "BROKEN",
    "Answer",
    "Host",
    "Service",
    "asking",
    "free_port",
    "read_until",
]

BIN = Path(sys.executable).parent

CODE = """
import os, sys, time
from pathlib import Path

import dagster as dg
from freshline import with_freshline

HINDRANCE

COLUMNS = [dg.TableColumn(name, "text") for name in NAMES]


@dg.asset(key=["raw", "orders"], metadata={"dagster/column_schema": dg.TableSchema(COLUMNS)})
def orders(context):
    context.add_output_metadata({"text": "TEXT", "parent": os.getppid()})


defs = with_freshline(
    dg.Definitions([orders], executor=dg.in_process_executor), location="one"
)
"""
BROKEN = "raise RuntimeError('broken on purpose')"


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """A program that runs for long, with its log. As a job, a script has started it with `&`."""

    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path, env: dict[str, str], job: bool = False
    ) -> None:
        self._log = Path(tempfile.mkstemp(suffix=".log", dir=env["TEST_LOGS"])[1])
        note = self._log.with_suffix(".pid")
        script = ["sh", "-c", '"$@" & echo $! > "$0"', note] if job else []
        with self._log.open("ab") as log:
            self.program = subprocess.Popen(
                [*script, *command],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if job:
            self.program.wait()
        self.process = psutil.Process(int(note.read_text()) if job else self.program.pid)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def await_line(self, text: str, *, times: int = 1) -> None:
        """Wait until the log has `text`, so many times."""

        def said() -> bool:
            over = self.program.poll() is not None and self.process.pid == self.program.pid
            assert self.log.count(text) >= times or not over, self.log
            return self.log.count(text) >= times

        until(said, why=f"not said: {text}\n{self.log}")

    def children(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)

    def kill(self) -> None:
        """Kill it alone, as the kernel does when memory is short."""
        self.process.kill()
        self.program.wait()

    def end(self, seconds: float = 60.0) -> None:
        """Tell it to end, and see to it that nothing of it is left."""
        if not self.process.is_running():
            self.program.wait()
            return
        family = [self.process, *self.children()]
        self.process.send_signal(signal.SIGTERM)
        try:
            await_end(family, seconds, self.log)
        finally:
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if self.process.pid == self.program.pid:
                self.program.wait()


class Host:
    """A host on which a team serves its location `one`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.releases = folder / "releases"
        self.current = self.releases / "current"
        self.run = Path(tempfile.mkdtemp(prefix="run-"))  # the path of a socket must be short
        self.port = free_port()
        self.services: list[Service] = []
        for path in (self.releases, folder / "home", folder / "logs"):
            path.mkdir()
        (folder / "home" / "dagster.yaml").touch()
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(folder / "home"),
            "FRESHLINE_RUN_DIR": str(self.run),
            "TEST_LOGS": str(folder / "logs"),
            **settings,
        }

    def release(
        self,
        name: str,
        text: str = "",
        *,
        columns: Sequence[str] = ("id", "amount", "note"),
        hindrance: str = "",
    ) -> Path:
        """Make a release. `text` is in what it materializes, `hindrance` is code that it runs."""
        folder = self.releases / name
        folder.mkdir()
        code = CODE.replace("TEXT", text).replace("NAMES", repr(columns))
        (folder / "one.py").write_text(code.replace("HINDRANCE", hindrance))
        _make_python(folder / ".venv")
        return folder

    def point(self, release: Path) -> None:
        """Let `current` be this release."""
        self.current.symlink_to(release.name)

    # --- services -------------------------------------------------------------------------

    def start(self, *command: str | Path, cwd: Path | None = None, job: bool = False) -> Service:
        """Start a program, by default in the folder `current`."""
        service = Service(command, cwd=cwd or self.current, env=self.environment, job=job)
        self.services.append(service)
        return service

    def serve(self, *, job: bool = False) -> Service:
        """Start the service of the code server, and wait until it serves."""
        service = self.start(*self.serving(self.port), job=job)
        service.await_line("one: answers on")
        return service

    def serving(self, port: int) -> list[str | Path]:
        return [BIN / "freshline", "serve", "one", "--port", str(port), "-f", "one.py"]

    def work(self) -> Service:
        """Start the service of the workers, and wait until they take runs."""
        service = self.start(BIN / "freshline", "worker", "one", "-f", "one.py")
        service.await_line("one: takes runs")
        return service

    def stop(self) -> None:
        """End all services."""
        try:
            for service in self.services:
                service.end()
        finally:
            shutil.rmtree(self.run)

    # --- deploys --------------------------------------------------------------------------

    def deploy(self, release: Path) -> subprocess.CompletedProcess[str]:
        """Deploy a release, by its own Python, and return what that has said."""
        return subprocess.run(
            self.deploying(release),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def deploying(self, release: Path) -> list[str | Path]:
        return [release / ".venv" / "bin" / "freshline", "deploy", "one", release]

    def ask(self, kind: str = "server") -> Conversation:
        """Begin to talk to a supervisor."""
        return Conversation(self.run / f"one.{kind}.sock", 120.0)

    def served(self, kind: str = "server") -> Path:
        """Return the release that a supervisor says it serves."""
        with self.ask(kind) as supervisor:
            supervisor.ask({})
            (answer,) = supervisor.lines()
            return Path(answer["release"])

    def server_id(self) -> str:
        """Return which code server answers."""
        return ask_server(f"127.0.0.1:{self.port}").server_id


def _make_python(folder: Path) -> None:
    """Make a Python of its own that has what this one has."""
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    here = sysconfig.get_paths()["purelib"]
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    script = folder / "bin" / "freshline"
    script.write_text(f"#!{folder}/bin/python\nfrom freshline.cli import app\n\napp()\n")
    script.chmod(0o755)


def read_until(supervisor: Conversation, field: str) -> list[dict[str, object]]:
    """Return the lines of a supervisor up to the one that has `field`."""
    lines: list[dict[str, object]] = []
    for line in supervisor.lines():
        lines.append(line)
        if field in line:
            return lines
    raise AssertionError(f"no {field} in {lines}")


class Answer(NamedTuple):
    """What a client got for one question."""

    asked_at: float
    server_id: str | None
    """Which server answered; None: none did."""


@contextmanager
def asking(port: int) -> Iterator[list[Answer]]:
    """Ask the code server of a port all the time; yield the answers, which grow meanwhile."""
    answers: list[Answer] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            at = time.monotonic()
            try:
                answers.append(Answer(at, ask_server(f"127.0.0.1:{port}").server_id))
            except NotReadyError:
                answers.append(Answer(at, None))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()
