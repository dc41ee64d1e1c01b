"""The workers that make the runs of the checkout's code locations: the program `freshline worker`.

The stack has them so that a run finds a worker however the workspace is served: by `make dev`, or
by `make up` and `dagster dev`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Self

from dotenv import dotenv_values

from devstack.errors import DevstackError
from devstack.kernel import die_with_parent
from devstack.processes import wait_for_exit
from devstack.stack.locations import FRESHLINE, WORKSPACE

DRAIN_SECONDS = 5
"""What runs have to end when the stack stops. Those that do not are made again another time."""
STOP_SECONDS = 30.0


class Workers:
    """`freshline worker` for all locations of the checkout `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if not FRESHLINE.exists():
            raise DevstackError(f"workers: there is no {FRESHLINE}. Run `make setup`.")
        settings = {
            name: value for name, value in dotenv_values(self._root / ".env").items() if value
        }
        self._process = subprocess.Popen(
            [str(FRESHLINE), "worker", "-w", WORKSPACE, "--drain", str(DRAIN_SECONDS)],
            cwd=self._root,
            env={"DAGSTER_HOME": str(self._root), **os.environ, **settings},
            stdin=subprocess.DEVNULL,
            # Ctrl-C in the terminal must reach this process alone, which then stops the workers.
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the program to end. Return its exit code; None if it still runs."""
        return wait_for_exit(self._process, seconds)
