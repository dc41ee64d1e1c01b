"""Which files a code location was loaded from, and whether they have changed since.

A worker executes runs in forks of a process that has loaded its location. What it has loaded must
be what is on disk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any, Final

__all__ = ["LoadedFiles", "recorded"]

_CACHES: Final = ("__pycache__", "node_modules")
_OUTSIDE: Final = ("/dev", "/proc", "/sys", "/etc")

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class LoadedFiles:
    """Files with their stamps, and folders with the names in them, as they were when loaded."""

    files: dict[str, _Stamp | None]
    """None: there was no such file."""
    folders: dict[str, tuple[str, ...]]
    searched: dict[str, tuple[str, ...]]
    """Folders that Python searches for modules, with the names of the modules alone."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LoadedFiles:
        """Return what ``dataclasses.asdict`` made of another one, read from JSON."""
        return cls(
            {
                path: stamp and (stamp[0], stamp[1], stamp[2])
                for path, stamp in values["files"].items()
            },
            {path: tuple(names) for path, names in values["folders"].items()},
            {path: tuple(names) for path, names in values["searched"].items()},
        )

    def changed(self) -> str | None:
        """Return the path of something that is not as it was; None: all is."""
        for path, stamp in self.files.items():
            if _stamp(path) != stamp:
                return path
        for path, names in self.folders.items():
            if _names(path) != names:
                return path
        for path, names in self.searched.items():
            if _modules(path) != names:
                return path
        return None


@contextmanager
def recorded() -> Iterator[LoadedFiles]:
    """Note what is read while the context is open; what it yields is filled when it ends.

    Python tells of every file that is opened and of every folder that is listed. What is installed
    in this environment does not count, but for the names in its folder of packages, which change
    when one is installed: a deploy starts new workers. Python lists the folders that it searches
    for modules; a log that appears there, in the folder that the worker runs in, is no new module.
    """
    files: set[str] = set()
    folders: set[str] = set()
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching:
            return
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            _, _, flags = arguments
            if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
                files.add(os.path.abspath(arguments[0]))  # noqa: PTH100  # no Path in here
        elif event in ("os.listdir", "os.scandir") and isinstance(arguments[0], str | os.PathLike):
            folders.add(os.path.abspath(arguments[0]))  # noqa: PTH100

    sys.addaudithook(watch)  # it cannot be taken off again
    loaded = LoadedFiles({}, {}, {})
    before = set(sys.modules)
    try:
        yield loaded
    finally:
        watching = False
    for name in set(sys.modules) - before:
        source = getattr(sys.modules[name], "__file__", None)
        if source:
            files.add(str(source))
    loaded.files.update((path, _stamp(path)) for path in sorted(files) if _is_own(path))
    packages = {path for path in sys.path if path.endswith("site-packages")}
    own = {path for path in folders if _is_own(path)}
    searched = own & {os.path.abspath(path) for path in sys.path}  # noqa: PTH100
    loaded.folders.update((path, _names(path)) for path in sorted(own - searched | packages))
    loaded.searched.update((path, _modules(path)) for path in sorted(searched))


def _is_own(path: str) -> bool:
    """Return whether `path` belongs to the location: it is neither installed nor of the system."""
    parts = Path(path).parts
    installed = any(
        path.startswith(f"{prefix}{os.sep}") for prefix in (sys.prefix, sys.base_prefix)
    )
    of_system = path.startswith(_OUTSIDE)
    return not (installed or of_system or any(part in _CACHES for part in parts))


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _modules(path: str) -> tuple[str, ...]:
    """Return the names in a folder that Python could import."""
    suffixes = tuple(all_suffixes())
    return tuple(
        name
        for name in _names(path)
        if name.endswith(suffixes) or Path(path, name, "__init__.py").exists()
    )


def _names(path: str) -> tuple[str, ...]:
    try:
        names = os.listdir(path)  # noqa: PTH208
    except OSError:
        return ()
    return tuple(sorted(name for name in names if name not in _CACHES and name[:1] != "."))
