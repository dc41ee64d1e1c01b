"""How the code of a location is loaded: from where the command was started, or from a release.

A release is a folder with the code of one version and the Python that it needs. It has a name of
its own, and never changes once it is served.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from freshline.errors import CommandError, ReleaseError
from freshline.workspace.entry import Entry
from freshline.workspace.source import WorkspaceSource, read_workspace

__all__ = ["entries_here", "entry_of_release", "source_from_json", "source_to_json"]

_PYTHON: Final = Path(".venv", "bin", "python")
"""The Python of a release, unless its workspace file names another."""


def entries_here(source: WorkspaceSource, locations: Sequence[str]) -> list[Entry]:
    """Return the `locations` of `source` whose code is here; all of them if none is named.

    One location that is named beside -m or -f gives that code its name. Raises `CommandError`,
    `WorkspaceError` and `UnknownNameError`.
    """
    if not source.files and len(locations) == 1:
        entries = [replace(entry, name=locations[0]) for entry in read_workspace(source)]
    else:
        entries = read_workspace(source, locations)
    elsewhere = [entry for entry in entries if entry.kind == "grpc_server"]
    if elsewhere and locations:
        entry = elsewhere[0]
        raise CommandError(
            f"{entry.name} is a code server at {entry.target}, so its code is not named here; "
            f"name it where it is, as in {entry.name} -m MODULE."
        )
    here = [entry for entry in entries if entry not in elsewhere]
    if not here:
        raise CommandError(f"{source} has no location whose code is here.")
    return here


def entry_of_release(source: WorkspaceSource, location: str, release: Path) -> Entry:
    """Return how `location` is loaded from the folder `release`.

    What `source` names is looked for there, as if the command were started in that folder. Raises
    `ReleaseError`, `WorkspaceError` and `UnknownNameError`.
    """
    if not release.is_dir():
        raise ReleaseError(f"{release} is no folder; name that of a release.")
    for path in _paths(source):
        if path.is_absolute():
            raise ReleaseError(
                f"what serves {location} was started with {path}, so each release would load the "
                "code there; start it in the folder of a release, with a path that begins there."
            )
    with _inside(release):
        (entry,) = entries_here(source, [location])
    python = release / (entry.executable_path or _PYTHON)
    if not python.exists():
        raise ReleaseError(
            f"{location} has no Python in this release: there is no {python}. Make its environment "
            "first."
        )
    return replace(entry, executable_path=str(python))


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Make `folder` the current one, and go back at the end, also to one that is deleted by now."""
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def _paths(source: WorkspaceSource) -> list[Path]:
    """Return the paths that `source` names."""
    directory = [source.working_directory] if source.working_directory else []
    files = [Path(target) for kind, target in source.code if kind == "python_file"]
    return [*source.files, *directory, *files]


def source_to_json(source: WorkspaceSource) -> dict[str, Any]:
    """Return what `source_from_json` reads."""
    return {
        "files": list(map(str, source.files)),
        "code": [list(pair) for pair in source.code],
        "attribute": source.attribute,
        "working_directory": str(source.working_directory) if source.working_directory else None,
        "use_active_venv": source.use_active_venv,
    }


def source_from_json(values: Mapping[str, Any]) -> WorkspaceSource:
    """Return the source that `source_to_json` has written, perhaps of another version."""
    directory = values.get("working_directory")
    return WorkspaceSource(
        files=tuple(map(Path, values.get("files", ()))),
        code=tuple((kind, target) for kind, target in values.get("code", ())),
        attribute=values.get("attribute"),
        working_directory=Path(directory) if directory else None,
        use_active_venv=bool(values.get("use_active_venv")),
    )
