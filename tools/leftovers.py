"""List the processes of this checkout that still run; exit status 1 if there is one."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    found = {pid: line for pid, line in processes() if str(ROOT) in line}
    for pid, line in found.items():
        print(f"left behind: process {pid}: {line[:200]}")
    sys.exit(1 if found else 0)


def processes() -> list[tuple[int, str]]:
    """Return every process by id, with its program and arguments.

    This process and its ancestors are left out.
    """
    ours = ancestors()
    rows = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            executable = (folder / "exe").readlink()
            if int(folder.name) not in ours:
                rows.append((int(folder.name), f"{executable} {line}"))
    return rows


def ancestors() -> set[int]:
    """Return the ids of this process and of those that started it."""
    pid, found = os.getpid(), set()
    while pid > 0:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


if __name__ == "__main__":
    main()
