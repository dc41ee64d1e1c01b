"""Background processes: remembered across commands, and never mistaken for another program's.

A process id alone is not proof: ids are used again. A record therefore holds the time at which the
process started as well, and a process is ours only if both agree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from devstack.files import write_private
from devstack.processes import is_running


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
        except psutil.Error:
            return None
        return process if start_of(self.pid) == self.started and is_running(process) else None


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
