"""Records of background processes, kept in files from one command to the next.

A process id is not enough to recognize a process: ids are used again. So a record also holds when
the process started, and a process is ours only if both agree.
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
    """A process that was started."""

    pid: int
    started: str
    """When it started, as `start_of` returns it. The text can only be compared."""
    fingerprint: str
    """The `Service.fingerprint` that it was started with."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What it announced, without secrets."""

    def process(self) -> psutil.Process | None:
        """Return the process that was recorded; None if it has ended."""
        try:
            process = psutil.Process(self.pid)
        except psutil.Error:
            return None
        return process if start_of(self.pid) == self.started and is_running(process) else None


def start_of(pid: int) -> str:
    """Return when a process started, as a text; an empty text if there is no such process.

    On Linux the text counts ticks since the boot, so that setting the clock does not change it.
    """
    try:
        if sys.platform != "linux":
            return f"{psutil.Process(pid).create_time():.2f}"
        # The name, in parentheses, may hold anything. The 20th field after it is the start.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{ticks} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except (OSError, psutil.Error, IndexError):
        return ""


def read_record(path: Path) -> Record | None:
    """Read a record; None if the file is missing or damaged."""
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Write a record; make its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, json.dumps(asdict(record)) + "\n")


def spawn(
    command: list[str], *, environment: Mapping[str, str], log: Path, tied: bool
) -> subprocess.Popen[bytes]:
    """Start a program in the background. Its errors go to `log`, its output to a pipe.

    A `tied` one has a pipe as standard input, which closes when this process ends.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Signals of the terminal, and its end, must not reach the program.
            start_new_session=True,
            cwd=os.sep,
        )
