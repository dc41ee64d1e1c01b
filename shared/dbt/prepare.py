"""Make dbt projects ready to load: packages and manifest, without a database.

    analytics_core/.venv/bin/python shared/dbt/prepare.py analytics_core/dbt_project_1

Runs `dbt deps` and `dbt parse` in each project folder named, with the dbt of the Python that runs
it. A project whose files have not changed since is left alone (a tenth of a second).
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = Path(__file__).parent
MADE = {"target", "logs", "dbt_packages", "package-lock.yml", "__pycache__"}


def main(folders: list[str]) -> int:
    """Prepare the projects; the exit status."""
    if not folders:
        print(f"usage: {sys.argv[0]} DBT_PROJECT...", file=sys.stderr)
        return 2
    for folder in map(Path, folders):
        if not (folder / "dbt_project.yml").exists():
            print(f"{folder} is no dbt project: it has no dbt_project.yml", file=sys.stderr)
            return 2
        if not prepare(folder.resolve()):
            print(f"{folder}: dbt failed; its message is above", file=sys.stderr)
            return 1
    return 0


def prepare(project: Path) -> bool:
    """Whether the project is ready."""
    manifest = project / "target" / "manifest.json"
    stamp = project / "target" / "prepared"
    digest = _digest(project)
    if manifest.exists() and stamp.exists() and stamp.read_text() == digest:
        return True
    stamp.unlink(missing_ok=True)
    if not _dbt(project, "deps") or not _dbt(project, "parse"):
        return False
    stamp.write_text(digest)
    return True


def _dbt(project: Path, command: str) -> bool:
    # In this process: starting dbt takes three seconds each time.
    from dbt.cli.main import dbtRunner

    flags = ["--quiet", "--log-path", str(project / "target")]
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    return dbtRunner().invoke([*flags, command, *folders]).success


def _digest(project: Path) -> str:
    """Of all that the manifest depends on: sources, shared packages, dbt's version, the place."""
    digest = hashlib.sha256()
    for value in (version("dbt-core"), str(project)):
        digest.update(value.encode() + b"\0")
    for root in (project, PACKAGES):
        for path in _files(root):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - MADE)
        found += [Path(folder, name) for name in sorted(set(names) - MADE)]
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
