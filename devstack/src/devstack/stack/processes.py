"""Background processes: remembered across commands, and never mistaken for another program's.

A process id alone is not proof: ids are used again. A record therefore holds the moment the process
started as well, and a process is ours only if both agree.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from devstack.files import write_private


@dataclass(frozen=True)
class Record:
    """What is known of a started process.

    :param started: its start, in a form that only equality is defined for.
    :param fingerprint: of the command and settings it was started with.
    :param facts: what it announced about itself, without secrets.
    """

    pid: int
    started: str
    fingerprint: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def process(self) -> psutil.Process | None:
        """The process, if it is still the one that was recorded."""
        try:
            process = psutil.Process(self.pid)
            if start_of(self.pid) == self.started and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            pass
        return None


def start_of(pid: int) -> str:
    """When a process started; empty when there is none.

    On Linux in clock ticks since the boot of a named kernel, which no change of the clock moves.
    """
    try:
        if sys.platform != "linux":
            return f"{psutil.Process(pid).create_time():.2f}"
        # The name in parentheses may hold anything; the 20th field after it is the start.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{ticks} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except (OSError, psutil.Error, IndexError):
        return ""


def read_record(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_record(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, json.dumps(asdict(record)) + "\n")


def descendants(pid: int) -> list[psutil.Process]:
    """A process' children and theirs, as far as they can be seen now."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def end_tree(process: psutil.Process, *, grace_seconds: float) -> None:
    """Ask a process to stop, wait, then kill it and whatever it left behind."""
    family = descendants(process.pid)
    _signal([process], signal.SIGTERM)
    _, alive = psutil.wait_procs([process], timeout=grace_seconds)
    family = [*alive, *(descendants(process.pid) or []), *family]
    end_all(family, grace_seconds=1.0)


def end_all(processes: Iterable[psutil.Process], *, grace_seconds: float) -> None:
    """Ask processes to stop, wait, then kill those that have not."""
    alive = [process for process in dict.fromkeys(processes) if process.is_running()]
    if not alive:
        return
    _signal(alive, signal.SIGTERM)
    _, alive = psutil.wait_procs(alive, timeout=grace_seconds)
    _signal(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=10)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            # psutil checks that the id still belongs to the process it stood for.
            process.send_signal(number)
        except psutil.Error:
            continue


def spawn(
    command: list[str], *, environment: Mapping[str, str], log: Path, tied: bool
) -> subprocess.Popen[bytes]:
    """Start a background program; standard error goes to the log, standard output to a pipe.

    :param tied: hand it a pipe as standard input, which closes when this process ends.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Out of reach of the terminal's signals and of its end.
            start_new_session=True,
            cwd=os.sep,
        )
