"""The projects of a checkout: the folders that have a lock file of their own.

Set-up reads them before anything is installed, so this needs the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK = "requirements.lock"


@dataclass(frozen=True)
class Project:
    """A project, with an environment in `.venv` made from its lock file."""

    name: str
    """Its folder, relative to the checkout's root. The root itself, `.`, is the host."""
    lock_inputs: tuple[str, ...]
    """What the lock file resolves: arguments of `uv pip compile`, run in the folder."""
    local_packages: tuple[str, ...]
    """Folders of the checkout whose packages are installed as well, editable."""
    prepare: tuple[str, ...]
    """Arguments with which its Python makes it ready to load; empty if nothing is to be done."""


def find_projects(root: Path) -> dict[str, Project]:
    """Return every project of the checkout at `root` by its name, the host first."""
    folders = [root, *sorted(root.glob("*")), *sorted(root.glob("devstack/connectors/*"))]
    projects = [_read_project(folder, root) for folder in folders if (folder / LOCK).exists()]
    return {project.name: project for project in projects}


def _read_project(folder: Path, root: Path) -> Project:
    # Imported here, because set-up starts on an older Python too, in order to refuse it.
    import tomllib

    file = folder / "pyproject.toml"
    content = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return Project(
        name=folder.relative_to(root).as_posix(),
        lock_inputs=_lock_inputs(content),
        local_packages=tuple(
            path.resolve().relative_to(root.resolve()).as_posix()
            for path in _local_packages(folder, content)
        ),
        prepare=_prepare(folder),
    )


def _lock_inputs(content: dict[str, Any]) -> tuple[str, ...]:
    if not content:  # not a package of ours, but a program such as an Airbyte connector
        return ("requirements.in",)
    groups = content.get("dependency-groups", {})
    return ("pyproject.toml", *(word for group in groups for word in ("--group", group)))


def _local_packages(folder: Path, content: dict[str, Any]) -> list[Path]:
    sources = content.get("tool", {}).get("uv", {}).get("sources", {})
    packages = [folder / source["path"] for source in sources.values() if "path" in source]
    return [*packages, folder] if "build-system" in content else packages


def _prepare(folder: Path) -> tuple[str, ...]:
    """Return how to run the module `prepare`, which a location with a dbt project has."""
    for module in folder.glob("src/*/prepare.py"):
        return ("-m", f"{module.parent.name}.prepare")
    return ()


def read_locations(root: Path) -> list[str]:
    """Return the code locations of workspace.yaml; their folders have the same names."""
    import yaml  # not installed yet when set-up runs

    workspace = yaml.safe_load((root / "workspace.yaml").read_text(encoding="utf-8"))
    return [entry["python_module"]["location_name"] for entry in workspace["load_from"]]
