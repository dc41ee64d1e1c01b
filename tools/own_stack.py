"""A separate stack and `dagster dev`, for `make demo` and the soaks in bench/.

The stack has free ports and keeps its data in a folder that is emptied first, so these programs do
not need a running `make dev` or any other server, and do not disturb one. A program calls
`run_inside` to start itself again inside the stack. It then finds the stack's settings in its
environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import family
import psycopg
from projects import read_locations

ROOT = Path(__file__).resolve().parent.parent
DEVSTACK = ROOT / "devstack" / ".venv" / "bin" / "devstack"
SERVER_SETTINGS = ("DAGSTER_PG_", "WAREHOUSE_", "AIRBYTE_", "GITHUB_", "FRESHLINE_BROKER_")
"""Prefixes of the variables that may name servers other than the stack's."""


def run_inside(
    state: Path, command: Sequence[str], *, prepare: Callable[[Path], None] | None = None
) -> NoReturn:
    """Become `command` inside a new stack with its data in the folder `state`, emptied first.

    Before the stack starts, `prepare` may change what is in the folder. The exit status is that of
    the command. Signals to this process reach the stack, which stops the command and itself.
    """
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    link_checkout(state)
    if prepare is not None:
        prepare(state)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(SERVER_SETTINGS)
    }
    environment["DEVSTACK_ROOT"] = str(state)
    for name in ("POSTGRES", "AIRBYTE", "GITHUB", "BROKER"):
        environment[f"DEVSTACK_{name}_PORT"] = str(_free_port())
    if stars := os.environ.get("DEVSTACK_STARS"):
        environment["DEVSTACK_STARS"] = str(Path(stars).expanduser().resolve())
    os.execve(DEVSTACK, [str(DEVSTACK), "run", "--", *command], environment)  # noqa: S606 - no shell is needed


@contextmanager
def dagster_dev(state: Path, *, limits: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dagster dev` on all code locations, inside the stack, until the block ends.

    Its instance, which this process uses too, is in the folder `state`; its output is in
    `log_of(state)`. The pools have the workspace's limits, unless `limits` is false.
    """
    os.environ["DAGSTER_HOME"] = str(state)
    if limits:
        subprocess.run([sys.executable, ROOT / "tools" / "limits.py"], check=True)
    program = ROOT / ".venv" / "bin" / "dagster"
    command: list[str | Path] = [program, "dev", "-w", "workspace.yaml", "-p", str(_free_port())]
    with (
        log_of(state).open("wb") as output,
        family.running(command, cwd=state, stdout=output, stderr=output) as dagster,
    ):
        yield dagster


def link_checkout(state: Path) -> None:
    """Make the folder `state` look like the checkout to Dagster, but without its `.env`.

    Dagster reads the `.env` of the folder in which it starts. The checkout's is for `make dev`, and
    would replace the settings of this stack.
    """
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(ROOT / name, state)
    for name in (".venv", *read_locations(ROOT)):
        (state / name).symlink_to(ROOT / name)


def log_of(state: Path) -> Path:
    """Return the file with the output of `dagster dev`."""
    return state / "dagster.log"


def connect_to_warehouse() -> psycopg.Connection[tuple[Any, ...]]:
    """Connect to the warehouse that the environment names; each statement commits by itself."""
    return psycopg.connect(
        host=os.environ["WAREHOUSE_HOST"],
        port=os.environ["WAREHOUSE_PORT"],
        user=os.environ["WAREHOUSE_USER"],
        password=os.environ["WAREHOUSE_PASSWORD"],
        dbname=os.environ["WAREHOUSE_DATABASE"],
        autocommit=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
