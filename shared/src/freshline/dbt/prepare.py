"""Make a dbt project ready to load: install its packages and write its manifest.

    python -m freshline.dbt.prepare FOLDER...

Run it at set-up, when an image is built, and after a change to the project: loading a location
never runs dbt. It needs no database. It takes a tenth of a second if nothing has changed, else
seven seconds: dbt is only imported when it is needed.

It also makes ``target/freshline_dbt`` in the project: a link to freshline's macros and generic
tests, wherever freshline is installed. A project uses them with this in its packages.yml:

    packages:
      - local: target/freshline_dbt
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import yaml

__all__ = ["changed", "prepare_dbt"]

_MACROS: Final = Path(__file__).resolve().with_name("freshline_dbt")
"""The dbt package with freshline's macros and generic tests."""

# Files and folders that dbt and Python write into a project. They are not part of its digest.
_MADE: Final = frozenset({"target", "logs", "dbt_packages", "package-lock.yml", "__pycache__"})
_READ: Final = frozenset({".csv", ".js", ".md", ".py", ".sql", ".yaml", ".yml"})
"""What the files that dbt reads end with. Others may lie in a project too, and change with every
run: a DuckDB file, a contract."""


def prepare_dbt(folders: Sequence[str | Path]) -> int:
    """Prepare each dbt project. Return an exit status: 0 done, 1 dbt failed, 2 no such project."""
    if not folders:
        print("usage: python -m freshline.dbt.prepare DBT_PROJECT...", file=sys.stderr)
        return 2
    for folder in map(Path, folders):
        if not (folder / "dbt_project.yml").exists():
            print(f"{folder} is not a dbt project: no dbt_project.yml", file=sys.stderr)
            return 2
        if not _prepare(folder):
            print(f"{folder} could not be prepared: dbt's message is above", file=sys.stderr)
            return 1
    return 0


def _prepare(project: Path) -> bool:
    """Run ``dbt deps`` and ``dbt parse`` unless nothing has changed. Return whether they worked."""
    project = project.resolve()
    stamp = _stamp(project)
    _link_macros(project)
    if stamp.exists() and not changed(project):
        return True
    stamp.unlink(missing_ok=True)
    digest = _digest(project)
    if not _dbt(project, "deps") or not _dbt(project, "parse"):
        return False
    stamp.write_text(digest)
    return True


def changed(project: Path) -> bool:
    """Return whether a project has changed since it was prepared; False if it never was."""
    project = project.resolve()
    stamp = _stamp(project)
    return stamp.exists() and stamp.read_text() != _digest(project)


def _link_macros(project: Path) -> None:
    """Make ``target/freshline_dbt``, or correct it: the Python environment may have moved."""
    link = project / "target" / _MACROS.name
    if link.is_symlink():
        if link.readlink() == _MACROS:
            return
        link.unlink()
    elif link.exists():  # a copy of the project that has files in place of links
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(_MACROS, target_is_directory=True)


def _stamp(project: Path) -> Path:
    return project / "target" / "prepared"


def _dbt(project: Path, command: str) -> bool:
    # In this process: dbt takes three seconds to start.
    from dbt.cli.main import dbtRunner

    flags = ["--quiet", "--log-path", str(project / "target")]
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    return bool(dbtRunner().invoke([*flags, command, *folders]).success)


def _digest(project: Path) -> str:
    """Return a digest of what a manifest depends on: files, local packages, dbt, the folder."""
    digest = hashlib.sha256()
    for value in (version("dbt-core"), str(project)):
        digest.update(value.encode() + b"\0")
    for root in (project, *_local_packages(project)):
        for path in _files(root):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _local_packages(project: Path) -> Iterator[Path]:
    for declared in (project / "packages.yml", project / "dependencies.yml"):
        if declared.exists():
            for package in (yaml.safe_load(declared.read_text()) or {}).get("packages") or []:
                if "local" in package:
                    yield project / package["local"]


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        # A hidden folder is a repository's, an environment's or an editor's.
        folders[:] = sorted(name for name in set(folders) - _MADE if not name.startswith("."))
        paths = (Path(folder, name) for name in sorted(set(names) - _MADE))
        yield from (path for path in paths if path.suffix in _READ)


if __name__ == "__main__":
    raise SystemExit(prepare_dbt(sys.argv[1:]))
