"""Ending processes of which we are not the parent."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
from devstack.processes import end_tree

# Starts a child, says its number, and never notices that it ends.
CARELESS = """
import subprocess, time
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


def test_ended_process_is_not_waited_for_when_its_parent_does_not_notice() -> None:
    with subprocess.Popen([sys.executable, "-c", CARELESS], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        began = time.monotonic()
        end_tree(child, grace_seconds=60)
        took = time.monotonic() - began
        status = child.status()
        parent.kill()

    assert status == psutil.STATUS_ZOMBIE
    assert took < 30
