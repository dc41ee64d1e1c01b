"""Fixtures of devstack's own tests; those for every project are in `devstack_fixtures`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108 - folders in it are made by mkdtemp
NEEDED_BYTES = 2 * 2**30


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """A folder that other users may enter. It is in memory, where syncing is free, if it fits."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > NEEDED_BYTES
    folder = Path(tempfile.mkdtemp(prefix="devstack-", dir=MEMORY if roomy else None))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_user() -> list[str]:
    """The words to put before a command so that it runs as an ordinary user.

    If the tests run as root, it runs in a user namespace: the interpreter may be below root's home,
    which no other user may enter.
    """
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("user namespaces cannot be made here")
    return prefix
