"""Reads ``dg.toml`` and ``pyproject.toml``: dg's workspaces and projects, and ``[tool.dagster]``.

They are read as Dagster's own commands do: a project is loaded by its own virtual environment,
gets its own ``.env`` beside that of the workspace, and is called by its folder unless
``code_location_name`` says otherwise.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values

from freshline.errors import WorkspaceError
from freshline.workspace.entry import Entry
from freshline.workspace.file import loaded_entry

__all__ = [
    "DG_FILE",
    "PYPROJECT",
    "Read",
    "dg_settings",
    "is_project",
    "read_projects",
    "toml_settings",
]

DG_FILE: Final = "dg.toml"
PYPROJECT: Final = "pyproject.toml"

Read = Callable[[Path], str | None]
"""Returns the text of a file; None: there is no such file. Raises `WorkspaceError`."""

_PYTHON: Final = "DG_PROJECT_PYTHON_EXECUTABLE"
"""dg's variable, in the `.env` of a project: its Python, unless that is in `.venv`."""


def read_projects(path: Path, read: Read, *, use_active_venv: bool = False) -> list[Entry]:
    """Return the code locations that a TOML file declares, as `dagster dev` or `dg dev` load them.

    With `use_active_venv`, all are loaded by the Python that reads the workspace. Raises
    `WorkspaceError`, with the file, the field and the fix.
    """
    settings = toml_settings(path, read)
    modules = _dagster_modules(path, settings)
    if modules:
        return modules
    prefix, dg = dg_settings(path, settings)
    if is_project(dg):
        return [_project(path, prefix, dg, _folder_of(path), use_active_venv)]
    if "workspace" not in dg:
        dagster = "" if path.name == DG_FILE else "[tool.dagster] with a module_name, or "
        raise WorkspaceError(
            f"{path} declares no code location; write {dagster}[{prefix}workspace] with projects, "
            f"or [{prefix}project] with a root_module."
        )
    return _workspace(path, prefix, dg["workspace"], read, use_active_venv)


def toml_settings(path: Path, read: Read) -> Mapping[str, Any]:
    """Return the content of a TOML file; empty if there is none. Raises `WorkspaceError`."""
    try:
        return tomllib.loads(read(path) or "")
    except tomllib.TOMLDecodeError as error:
        raise WorkspaceError(f"{path} is not TOML: {error}.") from None


def dg_settings(path: Path, settings: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return dg's part of the file's `settings`, after the prefix of its fields in messages."""
    if path.name == DG_FILE:
        return "", settings
    return "tool.dg.", _table(_table(settings, "tool", path), "dg", path, "tool.")


def is_project(dg: Mapping[str, Any]) -> bool:
    """Return whether dg's settings are those of a project, not of a workspace."""
    kind = dg.get("directory_type")
    return kind == "project" or (kind != "workspace" and "project" in dg)


# --- [tool.dagster] --------------------------------------------------------------------------


def _dagster_modules(path: Path, settings: Mapping[str, Any]) -> list[Entry]:
    """Return the locations that ``[tool.dagster]`` names; none if it names none."""
    if path.name == DG_FILE:
        return []
    block = _table(_table(settings, "tool", path), "dagster", path, "tool.")
    modules = block.get("modules", [])
    if not isinstance(modules, list) or not all(isinstance(it, Mapping) for it in modules):
        raise WorkspaceError(
            f"{path}, tool.dagster.modules: write a list such as "
            '[{type = "module", name = "shop.definitions"}].'
        )
    if modules and "module_name" in block:
        raise WorkspaceError(f"{path}, tool.dagster: give module_name or modules, not both.")
    if "module_name" in block:
        named = [_text(block, "module_name", path, "tool.dagster.")]
    else:
        named = [
            _text(module, "name", path, f"tool.dagster.modules[{number}].")
            for number, module in enumerate(modules)
            if module.get("type") == "module"
        ]
    home = _folder_of(path)
    return [
        loaded_entry(
            "python_module",
            module,
            home=home,
            start=home,
            name=_text(block, "code_location_name", path, "tool.dagster.", required=False),
            working_directory=str(home),
        )
        for module in named
    ]


# --- dg --------------------------------------------------------------------------------------


def _workspace(
    path: Path, prefix: str, workspace: Any, read: Read, use_active_venv: bool
) -> list[Entry]:
    """Return the projects of a dg workspace."""
    projects = workspace.get("projects") if isinstance(workspace, Mapping) else None
    field = f"{prefix}workspace.projects"
    if not isinstance(projects, list) or not all(isinstance(it, Mapping) for it in projects):
        raise WorkspaceError(
            f"{path}: {field} must list the projects; write [[{field}]] with a path for each."
        )
    start = _folder_of(path)
    entries = []
    for number, project in enumerate(projects):
        relative = _text(project, "path", path, f"{field}[{number}].")
        root = Path(os.path.normpath(start / relative))
        for file in (root / DG_FILE, root / PYPROJECT):
            name, dg = dg_settings(file, toml_settings(file, read))
            if is_project(dg):
                entries.append(_project(file, name, dg, start, use_active_venv))
                break
        else:
            raise WorkspaceError(
                f"{path}: {field}[{number}].path is {relative!r}, where no dg project is: {root} "
                f"has no {DG_FILE} with [project] and no {PYPROJECT} with [tool.dg.project]. "
                "Correct the path, or write the project's file."
            )
    return entries


def _project(
    path: Path, prefix: str, dg: Mapping[str, Any], start: Path, use_active_venv: bool
) -> Entry:
    """Return the code location of the dg project whose settings are in the file at `path`."""
    project, where = _table(dg, "project", path, prefix), f"{prefix}project."
    root = _folder_of(path)
    module = _text(project, "root_module", path, where)
    given = {
        name: _text(project, name, path, where, required=False)
        for name in ("code_location_name", "code_location_target_module", "defs_module")
    }
    autoload = project.get("autoload_defs") is True
    base = root / "src" if (root / "src").exists() else root
    entry = loaded_entry(
        "autoload_defs_module" if autoload else "python_module",
        (given["defs_module"] or f"{module}.defs")
        if autoload
        else (given["code_location_target_module"] or f"{module}.definitions"),
        home=root,
        start=start,
        name=given["code_location_name"] or root.name,
        # The folder that has the root module, which may be nested.
        working_directory=str(base.joinpath(*module.split(".")[:-1])),
        executable_path=None if use_active_venv else _python(root),
    )
    return replace(entry, folder=root, env_folder=root)


def _folder_of(path: Path) -> Path:
    """Return the file's folder. Links stay, because a project is called by its folder."""
    return Path(os.path.abspath(path)).parent  # noqa: PTH100  # absolute() keeps ".."


def _python(root: Path) -> str | None:
    """Return the Python of the project in the folder `root`; None: it has none of its own."""
    file = root / ".env"
    named = dotenv_values(file).get(_PYTHON) if file.is_file() else None
    if named:
        return str(root / named)
    python = root / ".venv" / "bin" / "python"
    return str(python) if python.exists() else None


# --- values ----------------------------------------------------------------------------------


def _table(
    settings: Mapping[str, Any], name: str, path: Path, prefix: str = ""
) -> Mapping[str, Any]:
    table = settings.get(name, {})
    if not isinstance(table, Mapping):
        raise WorkspaceError(f"{path}: {prefix}{name} must be a table, not {table!r}.")
    return table


def _text(
    settings: Mapping[str, Any], name: str, path: Path, prefix: str, *, required: bool = True
) -> str:
    """Return a text of the settings; "" if it is not there and not required."""
    value = settings.get(name, "" if not required else None)
    if value is None or (required and value == ""):
        raise WorkspaceError(f'{path}: {prefix}{name} is missing; write {name} = "...".')
    if not isinstance(value, str):
        raise WorkspaceError(f"{path}: {prefix}{name} must be a text in quotes, not {value!r}.")
    return value
