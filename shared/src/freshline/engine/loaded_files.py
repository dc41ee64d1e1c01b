"""Which files a code location was loaded from, and whether they have changed since.

A worker executes runs in forks of a process that has loaded its location. What it has loaded must
be what is on disk.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import BYTECODE_SUFFIXES, all_suffixes
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any, Final

__all__ = ["LoadedFiles", "recorded"]

_CACHES: Final = ("__pycache__", "node_modules")
_PACKAGES: Final = ("site-packages", "dist-packages")
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

    Python tells of every file that is opened and of every folder that is listed. A file counts as
    it was when it was read last, so that one that is saved while others load has changed; but one
    that this process has written counts as it is in the end. What is installed
    in this environment does not count, but for the names in its folder of packages, which change
    when one is installed: a deploy starts new workers. Python lists the folders that it searches
    for modules; a log that appears there, in the folder that the worker runs in, is no new module.
    """
    files: dict[str, _Stamp | None] = {}
    written: set[str] = set()
    folders: set[str] = set()
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching:
            return
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            name, _, flags = arguments
            path = _source(os.path.abspath(name))  # noqa: PTH100  # no Path in here
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                written.add(path)
            elif _is_own(path):
                files[path] = _stamp(path)
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
        if source and _is_own(source):
            files.setdefault(source, _stamp(source))
    files.update((path, _stamp(path)) for path in written & files.keys())
    loaded.files.update(sorted(files.items()))
    packages = {path for path in sys.path if path.endswith("site-packages")}
    own = {path for path in folders if _is_own(path)}
    searched = own & {os.path.abspath(path) for path in sys.path}  # noqa: PTH100
    loaded.folders.update((path, _names(path)) for path in sorted(own - searched | packages))
    loaded.searched.update((path, _modules(path)) for path in sorted(searched))


def _source(path: str) -> str:
    """Return the source of compiled code, which Python reads in its place; else `path` itself."""
    if not path.endswith(tuple(BYTECODE_SUFFIXES)):
        return path
    try:
        return source_from_cache(path)
    except ValueError:  # it is in no cache
        return path


def _is_own(path: str) -> bool:
    """Return whether `path` belongs to the location: it is neither installed nor of the system."""
    installed = any(path.startswith(f"{folder}{os.sep}") for folder in _installed())
    of_system = path.startswith(_OUTSIDE)
    others = (*_CACHES, *_PACKAGES)
    return not (installed or of_system or any(part in others for part in Path(path).parts))


@cache
def _installed() -> tuple[str, ...]:
    """Return the folders of Python itself, and that of the virtual environment if it is one."""
    paths = sysconfig.get_paths()
    environment = [sys.prefix] if sys.prefix != sys.base_prefix else []
    return (paths["stdlib"], paths["platstdlib"], *environment)


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
