"""Reads ``workspace.yaml``: which code locations there are, and where each one is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from freshline.errors import WorkspaceError
from freshline.workspace.entry import Entry

__all__ = ["loaded_entry", "read_file"]

_KINDS: Final = {
    "python_module": "module_name",
    "python_file": "relative_path",
    "python_package": "package_name",
    "autoload_defs_module": "module_name",
    "grpc_server": "",
}


def read_file(path: Path, text: str) -> list[Entry]:
    """Return the code locations in `text`, the content of the workspace file at `path`.

    Paths of a `python_file` start at the folder of the file. Others start where Dagster is
    started: in the folder of the file if they are there, else in the current directory. Raises
    `WorkspaceError`.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WorkspaceError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    items = content.get("load_from") if isinstance(content, Mapping) else None
    if not isinstance(items, list):
        raise WorkspaceError(f"{path} has no load_from with a list of code locations.")
    home = path.resolve().parent
    places = [f"{path}, entry {number}" for number in range(1, len(items) + 1)]
    parsed = [_parsed(item, where) for item, where in zip(items, places, strict=True)]
    start = _start(home, parsed)
    return [
        _server(values, where, home)
        if kind == "grpc_server"
        else _loaded(kind, values, where, home, start)
        for (kind, values), where in zip(parsed, places, strict=True)
    ]


def _parsed(item: object, where: str) -> tuple[str, Mapping[str, Any]]:
    """Return the kind of an entry and its fields. Raises `WorkspaceError`."""
    kinds = [kind for kind in _KINDS if isinstance(item, Mapping) and kind in item]
    if not isinstance(item, Mapping) or len(kinds) != 1:
        raise WorkspaceError(f"{where}: write exactly one of {', '.join(_KINDS)}.")
    kind = kinds[0]
    config = item[kind]
    if isinstance(config, str) and kind != "grpc_server":
        config = {_KINDS[kind]: config}
    if not isinstance(config, Mapping):
        raise WorkspaceError(f"{where}: {kind} must be a name or a mapping, not {config!r}.")
    return kind, {name: _resolved(value, where, name) for name, value in config.items()}


def _resolved(value: object, where: str, name: str) -> Any:
    """Return the value; for ``{env: NAME}``, read it from the environment."""
    if not isinstance(value, Mapping) or set(value) != {"env"}:
        return value
    variable = str(value["env"])
    if variable not in os.environ:
        raise WorkspaceError(f"{where}: {name} comes from {variable}, which is not set.")
    return os.environ[variable]


def _start(home: Path, parsed: list[tuple[str, Mapping[str, Any]]]) -> Path:
    """Return the folder that Dagster is started in to load these entries.

    Dagster resolves most paths from the current directory. A workspace file that is read from
    elsewhere is meant for its own folder if anything that it names is there.
    """
    here = Path.cwd()
    if here == home or any(_is_in(home, kind, values) for kind, values in parsed):
        return home
    return here


def _is_in(start: Path, kind: str, values: Mapping[str, Any]) -> bool:
    """Return whether `start` has the executable, working directory or code that an entry names."""
    executable = Path(str(values.get("executable_path") or "")).expanduser()
    if len(executable.parts) > 1 and not executable.is_absolute():
        return (start / executable).exists()
    if kind in ("grpc_server", "python_file"):
        return False
    directory = str(values.get("working_directory") or ".")
    if Path(directory).is_absolute():
        return False
    top = str(values.get(_KINDS[kind]) or "").partition(".")[0]
    code = start / directory / top
    named = os.path.normpath(directory) != "." and (start / directory).is_dir()
    return named or (bool(top) and (code.is_dir() or code.with_suffix(".py").is_file()))


def _server(values: Mapping[str, Any], where: str, home: Path) -> Entry:
    host, socket = str(values.get("host") or "localhost"), values.get("socket")
    try:
        port = int(values["port"]) if values.get("port") else None
    except ValueError:
        raise WorkspaceError(f"{where}: port must be a number, not {values['port']!r}.") from None
    if (port is None) == (socket is None):
        raise WorkspaceError(f"{where}: a grpc_server needs a port or a socket.")
    default = f"grpc:{host}:{socket or port}"
    return Entry(
        name=str(values.get("location_name") or default),
        kind="grpc_server",
        target=f"{host}:{socket or port}",
        start=Path.cwd(),
        home=home,
        host=host,
        port=port,
        socket=socket,
        ssl=bool(values.get("ssl")),
    )


def _loaded(kind: str, values: Mapping[str, Any], where: str, home: Path, start: Path) -> Entry:
    field = _KINDS[kind]
    if not values.get(field):
        raise WorkspaceError(f"{where}: {kind} needs {field}.")
    target, directory = str(values[field]), values.get("working_directory")
    if kind == "python_file":
        # Relative to the workspace file. The working directory of a module is not.
        target = str(home / target)
        directory = str(home / directory) if directory else str(home)
    executable = values.get("executable_path")
    return loaded_entry(
        kind,
        target,
        home=home,
        start=start,
        name=values.get("location_name"),
        attribute=values.get("attribute"),
        working_directory=str(directory) if directory else None,
        executable_path=str(Path(executable).expanduser()) if executable else None,
    )


def loaded_entry(
    kind: str,
    target: str,
    *,
    home: Path,
    start: Path,
    name: str | None = None,
    attribute: str | None = None,
    working_directory: str | None = None,
    executable_path: str | None = None,
) -> Entry:
    """Return an entry that Python loads, with the name that Dagster gives it and its folder.

    `target` is the module, the package or the absolute file; None as in `Entry`.
    """
    default = Path(target).name if kind == "python_file" else target
    return Entry(
        name=str(name or (f"{default}:{attribute}" if attribute else default)),
        kind=kind,
        target=target,
        start=start,
        home=home,
        folder=_folder(kind, target, working_directory, executable_path, start, home),
        attribute=str(attribute) if attribute else None,
        working_directory=working_directory,
        executable_path=executable_path,
    )


def _folder(
    kind: str,
    target: str,
    working_directory: str | None,
    executable: str | None,
    start: Path,
    home: Path,
) -> Path | None:
    """Return the location's own folder, found by its file, working directory or Python."""
    if kind == "python_file":
        file = Path(target)
        projects = [
            folder
            for folder in file.parents
            if folder.is_relative_to(home) and (folder / "pyproject.toml").exists()
        ]
        return projects[0] if projects and projects[0] != home else file.parent
    if not home.is_relative_to(start):
        # The file was read from an unrelated folder. What that has belongs to other workspaces.
        start = home
    if working_directory:
        folder = start / working_directory
        return folder if folder.is_dir() else None
    if executable and os.sep in executable:
        # .../ingestion/.venv/bin/python, which is a link that must not be resolved.
        environment = (start / executable).parent.parent
        if (environment.parent / "pyproject.toml").exists() and environment.parent != home:
            return environment.parent
    packages = [folder / target.split(".")[0] for folder in (home, start)]
    return next((package for package in packages if package.is_dir()), None)
