"""Reads ``workspace.yaml``: which code locations there are, and where each one is."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from freshline.errors import UnknownNameError, WorkspaceError

__all__ = ["Entry", "read_workspace"]

_KINDS: Final = {
    "python_module": "module_name",
    "python_file": "relative_path",
    "python_package": "package_name",
    "autoload_defs_module": "module_name",
    "grpc_server": "",
}


@dataclass(frozen=True)
class Entry:
    """One code location of a workspace."""

    name: str
    kind: str
    """`python_module`, `python_file`, `python_package`, `autoload_defs_module`, `grpc_server`."""
    target: str
    """The module, package or absolute file; for a server, its name in messages."""
    start: Path
    """The folder that relative paths of the entry are resolved from."""
    folder: Path | None
    """The location's own folder, where its committed contract is; None: not known."""
    contract_file: Path | None
    attribute: str | None = None
    working_directory: str | None = None
    executable_path: str | None = None
    """None: the Python that reads the workspace."""
    host: str = "localhost"
    port: int | None = None
    socket: str | None = None
    ssl: bool = False


def read_workspace(path: Path, only: Collection[str] = ()) -> list[Entry]:
    """Read the code locations in the workspace file at `path`; with `only`, those of these names.

    Relative paths start at the current directory, as in Dagster, or at the folder of the file if
    only that has the executable. Raises `WorkspaceError`, and `UnknownNameError` for a name in
    `only` that the file does not have.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkspaceError(f"{path}: {error.strerror}; name the workspace with -w.") from None
    except yaml.YAMLError as error:
        raise WorkspaceError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    items = content.get("load_from") if isinstance(content, Mapping) else None
    if not isinstance(items, list):
        raise WorkspaceError(f"{path} has no load_from with a list of code locations.")
    entries = [_entry(item, path, number) for number, item in enumerate(items, 1)]
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise WorkspaceError(f"{path} names {', '.join(twice)} twice; give each a location_name.")
    for name in only:
        if name not in names:
            raise UnknownNameError(f"{path} has no {name}; it has {', '.join(names)}.")
    return [entry for entry in _with_contract_files(entries) if not only or entry.name in only]


def _entry(item: object, path: Path, number: int) -> Entry:
    where = f"{path}, entry {number}"
    kinds = [kind for kind in _KINDS if isinstance(item, Mapping) and kind in item]
    if not isinstance(item, Mapping) or len(kinds) != 1:
        raise WorkspaceError(f"{where}: write exactly one of {', '.join(_KINDS)}.")
    kind = kinds[0]
    config = item[kind]
    if isinstance(config, str) and kind != "grpc_server":
        config = {_KINDS[kind]: config}
    if not isinstance(config, Mapping):
        raise WorkspaceError(f"{where}: {kind} must be a name or a mapping, not {config!r}.")
    values = {name: _resolved(value, where, name) for name, value in config.items()}
    return _server(values, where) if kind == "grpc_server" else _loaded(kind, values, path, where)


def _resolved(value: object, where: str, name: str) -> Any:
    """Return the value; for ``{env: NAME}``, read it from the environment."""
    if not isinstance(value, Mapping) or set(value) != {"env"}:
        return value
    variable = str(value["env"])
    if variable not in os.environ:
        raise WorkspaceError(f"{where}: {name} comes from {variable}, which is not set.")
    return os.environ[variable]


def _server(values: Mapping[str, Any], where: str) -> Entry:
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
        folder=None,
        contract_file=None,
        host=host,
        port=port,
        socket=socket,
        ssl=bool(values.get("ssl")),
    )


def _loaded(kind: str, values: Mapping[str, Any], path: Path, where: str) -> Entry:
    field = _KINDS[kind]
    if not values.get(field):
        raise WorkspaceError(f"{where}: {kind} needs {field}.")
    home = path.resolve().parent
    executable = values.get("executable_path")
    executable = str(Path(executable).expanduser()) if executable else None
    start = Path.cwd()
    if executable and not (start / executable).exists() and (home / executable).exists():
        start = home
    target, directory = str(values[field]), values.get("working_directory")
    name = Path(target).name if kind == "python_file" else target
    if kind == "python_file":
        # Relative to the workspace file. The working directory of a module is not.
        target = str(home / target)
        directory = str(home / directory) if directory else str(home)
    attribute = values.get("attribute")
    return Entry(
        name=str(values.get("location_name") or (f"{name}:{attribute}" if attribute else name)),
        kind=kind,
        target=target,
        start=start,
        folder=_folder(kind, target, values.get("working_directory"), executable, start, home),
        contract_file=None,
        attribute=str(attribute) if attribute else None,
        working_directory=str(directory) if directory else None,
        executable_path=executable,
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
    if working_directory:
        return start / working_directory
    if executable and os.sep in executable:
        # .../ingestion/.venv/bin/python, which is a link that must not be resolved.
        environment = (start / executable).parent.parent
        if (environment.parent / "pyproject.toml").exists() and environment.parent != home:
            return environment.parent
    package = home / target.split(".")[0]
    return package if package.is_dir() else None


def _with_contract_files(entries: list[Entry]) -> list[Entry]:
    """Return the entries with the files of their contracts.

    A location that has a folder to itself has `contract.json`, others `contract.NAME.json`.
    """
    folders = [entry.folder for entry in entries]

    def file(entry: Entry) -> Path | None:
        if entry.folder is None:
            return None
        shared = folders.count(entry.folder) > 1
        return entry.folder / (f"contract.{entry.name}.json" if shared else "contract.json")

    return [Entry(**{**vars(entry), "contract_file": file(entry)}) for entry in entries]
