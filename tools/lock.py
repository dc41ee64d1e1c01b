"""Resolve every lock file, or with --check say which ones no longer fit.

A lock file holds versions and hashes and names no package index, so that it serves as well
behind a company's own mirror. Without --upgrade, pins that still fit stay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from projects import find_projects

ROOT = Path(__file__).resolve().parent.parent
HOST = ("--constraints", "../../requirements.lock")
IMAGE = ("--constraints", "../../deploy/images/requirements.lock")
PARTS: dict[str, tuple[str, ...]] = {
    "deploy/images": ("../../pyproject.toml", *HOST),
    "tests/images": ("requirements.in", *HOST),
    "docs/site": ("../../pyproject.toml", "requirements.in", *IMAGE),
}
"""What the other lock files resolve, by their folders, in the versions of the host's: what the
host's image has, without developers' tools; programs that only `tox -e images` needs; what
documents the host, beside what its image has (developers' tools need another docutils)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    arguments = parser.parse_args()
    inputs = {project.name: project.lock_inputs for project in find_projects(ROOT).values()}
    stale = [
        folder
        for folder, resolved in {**inputs, **PARTS}.items()
        if resolve(folder, resolved, upgrade=arguments.upgrade, check=arguments.check)
    ]
    if arguments.check and stale:
        sys.exit(f"Stale lock files in: {', '.join(stale)}. Rewrite them: make lock")


def resolve(folder: str, inputs: tuple[str, ...], *, upgrade: bool, check: bool) -> bool:
    """Resolve one lock file; with `check`, put the old one back. Return whether it changed."""
    lock = ROOT / folder / "requirements.lock"
    before = lock.read_text() if lock.exists() else None
    command = [str(ROOT / ".venv" / "bin" / "uv"), "pip", "compile", "--quiet"]
    command += ["--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-emit-package", "freshline"]
    command += ["--custom-compile-command", "make lock"]
    command += ["--output-file", "requirements.lock", *inputs]
    if upgrade:
        command.append("--upgrade")
    try:
        subprocess.run(command, cwd=ROOT / folder, check=True, stdout=subprocess.DEVNULL)
        return lock.read_text() != before
    finally:
        if check and before is not None:
            lock.write_text(before)


if __name__ == "__main__":
    main()
