"""A workspace of one's own: the stack on free ports with its data in a folder, and `dagster dev`.

What `make demo` and `bench/soak.py` stand on. They neither need nor disturb a running `make dev`
or a server of yours, and always start from nothing: a program starts itself again inside the
stack, whose settings it then finds in its environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from projects import read_locations

ROOT = Path(__file__).resolve().parent.parent
DEVSTACK = ROOT / "devstack" / ".venv" / "bin" / "devstack"
YOURS = ("DAGSTER_PG_", "WAREHOUSE_", "AIRBYTE_", "GITHUB_")
"""How settings begin that may point at servers which are not the stack's."""


def run_inside(state: Path, command: Sequence[str]) -> int:
    """Empty the folder `state`, run `command` inside a stack that keeps its data there, and
    return its exit status."""
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(YOURS)}
    environment["DEVSTACK_ROOT"] = str(state)
    for name in ("POSTGRES", "AIRBYTE", "GITHUB"):
        environment[f"DEVSTACK_{name}_PORT"] = str(_free_port())
    if stars := os.environ.get("DEVSTACK_STARS"):
        environment["DEVSTACK_STARS"] = str(Path(stars).expanduser().resolve())
    return subprocess.run(
        [DEVSTACK, "run", "--", *command], env=environment, check=False
    ).returncode


@contextmanager
def dagster_dev(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`dagster dev` over the three code locations, from inside the stack, with its instance in
    `state` (also for this process) and its output in `log_of(state)`."""
    lay_out(state)
    os.environ["DAGSTER_HOME"] = str(state)
    subprocess.run([sys.executable, ROOT / "tools" / "limits.py"], check=True)
    program = ROOT / ".venv" / "bin" / "dagster"
    command = [program, "dev", "-w", "workspace.yaml", "-p", str(_free_port())]
    with log_of(state).open("wb") as output:
        dagster = subprocess.Popen(command, cwd=state, stdout=output, stderr=output)
    try:
        yield dagster
    finally:
        dagster.send_signal(signal.SIGINT)
        dagster.wait()


def lay_out(state: Path) -> None:
    """Let `state` look like the checkout to Dagster, but for one file: Dagster lays the `.env` of
    the folder that it is started in, which is that of `make dev`, over its environment."""
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(ROOT / name, state)
    for location in read_locations(ROOT):
        (state / location).symlink_to(ROOT / location)


def log_of(state: Path) -> Path:
    return state / "dagster.log"


def connect_to_warehouse() -> psycopg.Connection[tuple[Any, ...]]:
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
