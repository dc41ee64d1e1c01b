"""Ending processes that are not children of this process."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
from devstack.processes import end_tree

# A parent that starts a child, prints its process id, and never reaps it.
PARENT = """
import subprocess, time
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


def test_end_tree_does_not_wait_until_the_parent_reaps_the_process() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        began = time.monotonic()
        end_tree(child, grace_seconds=60)
        took = time.monotonic() - began
        status = child.status()
        parent.kill()

    assert status == psutil.STATUS_ZOMBIE
    assert took < 30
