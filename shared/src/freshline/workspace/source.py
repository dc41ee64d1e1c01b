"""What declares the code locations of a workspace: files, or code that the command line names.

With neither, it is what Dagster's own commands would load in the current directory.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from freshline.errors import UnknownNameError, WorkspaceError
from freshline.workspace.entry import Entry, with_contract_files
from freshline.workspace.file import loaded_entry, read_file
from freshline.workspace.projects import (
    DG_FILE,
    PYPROJECT,
    Read,
    dg_settings,
    is_project,
    read_projects,
    toml_settings,
)

__all__ = ["Found", "Server", "WorkspaceSource", "find_workspace", "read_workspace"]

_WORKSPACE_FILES: Final = ("workspace.yaml", "workspace.yml")


class Server(NamedTuple):
    """Where a code server listens."""

    host: str
    port: int


@dataclass(frozen=True)
class WorkspaceSource:
    """What declares the code locations of a workspace."""

    files: tuple[Path, ...] = ()
    """Each a ``workspace.yaml``, ``dg.toml`` or ``pyproject.toml``; a later one wins a name."""
    code: tuple[tuple[str, str], ...] = ()
    """Kinds of entries and their modules, files or packages, if there are no `files`."""
    attribute: str | None = None
    working_directory: Path | None = None
    """Of `code`; None: the current directory."""
    servers: Mapping[str, Server] = field(default_factory=dict)
    """By location, the servers to ask in place of those that the files name."""
    use_active_venv: bool = False
    """Whether dg projects are loaded by the Python that reads the workspace."""

    @property
    def home(self) -> Path:
        """The folder of the first file; the current directory if code is named itself."""
        return self.files[0].resolve().parent if self.files else Path.cwd()

    def __str__(self) -> str:
        return ", ".join(map(str, self.files)) or "the command line"


def read_workspace(
    source: WorkspaceSource, only: Collection[str] = (), *, read: Read | None = None
) -> list[Entry]:
    """Return the code locations that `source` declares; with `only`, those of these names.

    `read` returns the text of a file, by default from the disk. Raises `WorkspaceError`, and
    `UnknownNameError` for a location that `source` does not have.
    """
    by_name: dict[str, Entry] = {}
    for path in source.files:
        entries = _entries(path, read or _text, source)
        _refuse_twice(str(path), entries)
        by_name.update({entry.name: entry for entry in entries})
    if not source.files:
        entries = _named_code(source)
        _refuse_twice(str(source), entries)
        by_name = {entry.name: entry for entry in entries}
    for name in (*only, *source.servers):
        if name not in by_name:
            raise UnknownNameError(f"{source} has no {name}; it has {', '.join(by_name)}.")
    placed = with_contract_files([_served(entry, source) for entry in by_name.values()])
    return [entry for entry in placed if not only or entry.name in only]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise WorkspaceError(f"{path} cannot be read: {why}; name the file with -w.") from None


def _entries(path: Path, read: Read, source: WorkspaceSource) -> list[Entry]:
    text = read(path)
    if text is None:
        raise WorkspaceError(f"{path}: No such file or directory; name the workspace with -w.")
    if path.suffix == ".toml":
        return read_projects(path, read, use_active_venv=source.use_active_venv)
    return read_file(path, text)


def _named_code(source: WorkspaceSource) -> list[Entry]:
    """Return the locations whose code the command line names, as `dagster dev` loads them."""
    here = Path.cwd()
    directory = source.working_directory
    return [
        loaded_entry(
            kind,
            str(here / target) if kind == "python_file" else target,
            home=here,
            start=here,
            attribute=source.attribute,
            working_directory=str(here / directory) if directory else None,
        )
        for kind, target in source.code
    ]


def _refuse_twice(where: str, entries: list[Entry]) -> None:
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        field = "code_location_name" if where.endswith(".toml") else "location_name"
        raise WorkspaceError(f"{where} names {', '.join(twice)} twice; give each a {field}.")


def _served(entry: Entry, source: WorkspaceSource) -> Entry:
    """Return the entry with the server that `source` gives it in place of its own."""
    server = source.servers.get(entry.name)
    if server is None:
        return entry
    if entry.kind != "grpc_server":
        raise WorkspaceError(
            f"{source} loads {entry.name} by Python; --server is for locations of a grpc_server."
        )
    return replace(
        entry,
        target=f"{server.host}:{server.port}",
        host=server.host,
        port=server.port,
        socket=None,
    )


# --- what Dagster would load here ------------------------------------------------------------


class Found(NamedTuple):
    """The workspace that Dagster would load in the current directory."""

    file: Path
    also: tuple[Path, ...]
    """Other files of the directory that declare locations, and are not read."""
    inside: Path | None
    """The file of the dg workspace of which `file` is one project; None: it is no such project."""


def find_workspace() -> Found:
    """Find what `dagster dev` would load in the current directory, else what `dg dev` would.

    A `pyproject.toml` with `[tool.dagster]` or `[tool.dg]` comes first, as in Dagster, then a
    `workspace.yaml`, then the nearest dg project or workspace, here or above. Raises
    `WorkspaceError` if there is none.
    """
    folder = Path.cwd()
    here = list(_declaring(folder))
    above = (file for file in map(_dg_file, folder.parents) if file)
    chosen = here[0] if here else next(above, None)
    if chosen is None:
        raise WorkspaceError(
            f"there is no workspace here: {folder} has no {PYPROJECT} with [tool.dagster] or "
            f"[tool.dg], no {_WORKSPACE_FILES[0]}, and no {DG_FILE} here or above; name a file "
            "with -w, or a module with -m."
        )
    inside = _containing(chosen)
    return Found(
        _relative(chosen),
        tuple(map(_relative, here[1:])),
        _relative(inside) if inside else None,
    )


def _relative(path: Path) -> Path:
    """Return the path as people type it here, such as ``../dg.toml``."""
    return Path(os.path.relpath(path))


def _declaring(folder: Path) -> Iterator[Path]:
    """Yield the files of the folder that declare locations; Dagster takes the first."""
    pyproject = folder / PYPROJECT
    settings = toml_settings(pyproject, _text)
    tool = settings.get("tool", {})
    block = tool.get("dagster", {}) if isinstance(tool, Mapping) else {}
    if "module_name" in block or "modules" in block or _dg_file(folder) == pyproject:
        yield pyproject
    files = (*_WORKSPACE_FILES, DG_FILE)
    yield from (folder / name for name in files if (folder / name).is_file())


def _dg_file(folder: Path) -> Path | None:
    """Return the file in the folder whose dg settings name code locations; None: there is none.

    A workspace that lists no projects names none.
    """
    for path in (folder / DG_FILE, folder / PYPROJECT):
        if not path.is_file():
            continue
        settings = dg_settings(path, toml_settings(path, _text))[1]
        workspace = settings.get("workspace")
        lists_none = isinstance(workspace, Mapping) and not workspace.get("projects")
        if settings and (is_project(settings) or not lists_none):
            return path
    return None


def _containing(file: Path) -> Path | None:
    """Return the file of the dg workspace that `file` is a project of; None: it is none's."""
    if file.suffix != ".toml" or not _is_project(file):
        return None
    files = (it for it in map(_dg_file, file.parent.parents) if it)
    return next((it for it in files if not _is_project(it)), None)


def _is_project(file: Path) -> bool:
    return is_project(dg_settings(file, toml_settings(file, _text))[1])
