"""`tools/family.py`: a program and all that it starts, run by a script in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dagster import ROOT
from support.processes import Job, family_of, still_running
from support.waiting import wait_until

BEGIN = f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import family\n"
WAITS = """
requests = family.StopRequests()
first = family.start(["sh", "-c", sys.argv[1]])
sys.exit(family.wait_for(first, requests))
"""
RUNS = """
with family.running(["sh", "-c", sys.argv[1]]) as first:
    first.wait()
"""
# Dagster is such a program: Python turns SIGINT into an exception, unless it was ignored.
STOPS_ON_SIGINT = f'{sys.executable} -c "import time; print(1, flush=True); time.sleep(600)"'
# A shell waits for its child before it ends by a signal; the child of this one ignores SIGINT.
HAS_A_STUBBORN_CHILD = "(trap '' INT TERM; echo 1; exec sleep 600) & wait"


class Family:
    """A job of a script that runs a family."""

    def __init__(self, folder: Path, program: str, script: str) -> None:
        command = [sys.executable, "-c", BEGIN + program, script]
        self.job = Job(command, cwd=folder, env=os.environ, log=folder / "log")
        wait_until(lambda: self.job.output() == "1\n", "the family is there", seconds=60)
        self.members = family_of(self.job.pid)

    def await_end(self) -> None:
        wait_until(lambda: not still_running(self.members), "all have ended", seconds=60)


@pytest.fixture
def begun() -> Iterator[list[Family]]:
    """The families that a test has begun; what is left of them is killed."""
    families: list[Family] = []
    yield families
    for family in families:
        for pid in still_running(family.members):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("program", [WAITS, RUNS], ids=["wait_for", "running"])
@pytest.mark.parametrize("script", [STOPS_ON_SIGINT, HAS_A_STUBBORN_CHILD])
def test_sigterm_ends_all(tmp_path: Path, begun: list[Family], program: str, script: str) -> None:
    family = Family(tmp_path, program, script)
    begun.append(family)
    os.kill(family.job.pid, signal.SIGTERM)
    family.await_end()

    assert len(family.members) >= 2


@pytest.mark.parametrize("program", [WAITS, RUNS], ids=["wait_for", "running"])
def test_the_first_program_hears_that_it_is_to_stop(
    tmp_path: Path, begun: list[Family], program: str
) -> None:
    """It is not killed."""
    family = Family(tmp_path, program, STOPS_ON_SIGINT)
    begun.append(family)
    os.kill(family.job.pid, signal.SIGTERM)
    family.await_end()

    assert family.job.output().rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_the_exit_status_is_that_of_the_first_program(script: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", BEGIN + WAITS, script], check=False)

    assert status == done.returncode
