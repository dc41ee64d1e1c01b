"""Runs `child` in the Python of every location, several at a time, and reads the results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values

from freshline import declared, names
from freshline.contract import describe, describe_dbt, describe_partitions, launch, node
from freshline.contract.document import Contract
from freshline.errors import ContractError
from freshline.workspace import child
from freshline.workspace.entry import Entry

__all__ = [
    "BROUGHT",
    "FIELDS",
    "Inspected",
    "code_server_environment",
    "inspect_entries",
    "target_of",
]

SECONDS: Final = 60.0
"""How long a location may take to load, unless the caller says otherwise."""

_START_UP: Final = 60.0
"""Seconds that a Python may take to import Dagster, on top of its locations' own."""

_BATCH: Final = 8
"""The number of locations of one Python above which a second process is started."""

BROUGHT: Final = (names, declared, launch, node, describe_dbt, describe_partitions, describe)
"""The modules of freshline that a location's Python is given; each imports those before it."""

FIELDS: Final = {
    "python_module": "module_name",
    "python_file": "python_file",
    "python_package": "package_name",
    "autoload_defs_module": "autoload_defs_module_name",
    "grpc_server": "server",
}


@dataclass(frozen=True)
class Inspected:
    """The contract that a location's code defines, or the reason why there is none."""

    entry: Entry
    contract: Contract | None = None
    error: str | None = None
    traceback: tuple[str, ...] = ()
    """The last lines of the location's own traceback, or of what it printed."""


def inspect_entries(
    entries: Sequence[Entry], *, seconds: float = SECONDS, jobs: int | None = None
) -> list[Inspected]:
    """Load every location and return its contract, in the order of `entries`.

    Each location has `seconds` to load; `jobs` (by default one for each CPU) run at a time. A
    location that does not load has an error in its place, and the others are not affected.
    """
    jobs = jobs or os.cpu_count() or 2
    outcomes: dict[str, Inspected] = {}
    with tempfile.TemporaryDirectory(prefix="freshline-") as scratch:
        batches = list(_batches(entries, jobs))
        with ThreadPoolExecutor(jobs) as pool:
            runs = [
                pool.submit(_inspect, batch, Path(scratch), f"{number}", seconds)
                for number, batch in enumerate(batches)
            ]
            for run in runs:
                outcomes.update({outcome.entry.name: outcome for outcome in run.result()})
    return [outcomes[entry.name] for entry in entries]


def _batches(entries: Sequence[Entry], jobs: int) -> Iterator[list[Entry]]:
    """Yield groups of locations that one process can load: same Python, same start folder.

    Code servers are asked by other processes, which keep the code of the start folder out.
    """
    groups: dict[tuple[str | None, Path, bool], list[Entry]] = {}
    for entry in entries:
        served = entry.kind == "grpc_server"
        groups.setdefault((entry.executable_path, entry.start, served), []).append(entry)
    for group in groups.values():
        parts = min(jobs, -(-len(group) // _BATCH))
        for part in range(parts):
            yield group[part::parts]


def _inspect(entries: list[Entry], scratch: Path, prefix: str, seconds: float) -> list[Inspected]:
    tasks = [_task(entry, scratch, f"{prefix}-{n}", seconds) for n, entry in enumerate(entries)]
    plan = scratch / f"{prefix}.json"
    start, python = entries[0].start, entries[0].executable_path or sys.executable
    content = {
        "modules": {it.__name__: it.__file__ for it in BROUGHT},
        "path": None if entries[0].kind == "grpc_server" else str(start),
        "tasks": tasks,
    }
    plan.write_text(json.dumps(content))
    command = [python, child.__file__, str(plan)]
    environment = code_server_environment(start, python)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the gate leaves no compiled files behind
    log = scratch / f"{prefix}.log"
    failure = _run(command, start, environment, log, seconds * len(tasks))
    return [_outcome(entry, task, failure) for entry, task in zip(entries, tasks, strict=True)]


def code_server_environment(start: Path, python: str) -> dict[str, str]:
    """Return the environment of a code server that Dagster starts in `start`.

    Dagster prefers the values in ``.env`` to those of the environment, and lets a location find
    the programs of its virtual environment.
    """
    given = {
        name: value for name, value in dotenv_values(start / ".env").items() if value is not None
    }
    environment = {**os.environ, **given}
    programs = (start / python).parent
    if python != sys.executable and (programs / "activate").exists():
        path = environment.get("PATH")
        environment["PATH"] = f"{programs}{os.pathsep}{path}" if path else str(programs)
    return environment


def target_of(entry: Entry) -> dict[str, str | None]:
    """Return the fields of Dagster's `LoadableTargetOrigin` for `entry`, but for the Python."""
    directory = entry.working_directory
    return {
        FIELDS[entry.kind]: entry.target,
        "attribute": entry.attribute,
        "working_directory": str(entry.start / directory) if directory else str(entry.start),
    }


def _task(entry: Entry, scratch: Path, name: str, seconds: float) -> dict[str, Any]:
    server = {"host": entry.host, "port": entry.port, "socket": entry.socket, "ssl": entry.ssl}
    directory = entry.working_directory
    return {
        "location": entry.name,
        "field": FIELDS[entry.kind],
        "target": server if entry.kind == "grpc_server" else entry.target,
        "attribute": entry.attribute,
        "start": str(entry.start),
        "working_directory": str(entry.start / directory) if directory else None,
        "folder": str(entry.folder) if entry.folder else None,
        "env_folder": str(entry.env_folder) if entry.env_folder else None,
        "seconds": seconds,
        "result": str(scratch / f"{name}.result"),
        "log": str(scratch / f"{name}.log"),
    }


def _run(
    command: list[str], start: Path, environment: dict[str, str], log: Path, seconds: float
) -> str | None:
    """Run `command` for at most `seconds` plus start-up. Return what went wrong; None: nothing."""
    with log.open("wb") as output:
        try:
            # The child stops when its standard input closes, so that it never outlives us.
            process = subprocess.Popen(
                command,
                cwd=start,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            where = "" if Path(command[0]).is_absolute() else f" from {start}"
            return f"its Python {command[0]} cannot be started{where}: {error.strerror}"
        try:
            process.wait(_START_UP + seconds)
        except subprocess.TimeoutExpired:
            return f"its Python did not answer within {_START_UP + seconds:g} seconds"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()
    return f"its Python ended with status {process.returncode}" if process.returncode else None


def _outcome(entry: Entry, task: dict[str, Any], failure: str | None) -> Inspected:
    result = Path(task["result"])
    if not result.exists():
        return Inspected(entry, error=failure or "its Python ended without an answer")
    answer = json.loads(result.read_text(encoding="utf-8"))
    if "error" in answer:
        lines = answer.get("traceback") or _last_lines(Path(task["log"]))
        return Inspected(entry, error=answer["error"], traceback=tuple(lines))
    try:
        return Inspected(entry, contract=Contract.from_description(answer["document"]))
    except ContractError as error:
        return Inspected(entry, error=str(error))


def _last_lines(log: Path) -> list[str]:
    if not log.exists():
        return []
    return log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-6:]
