"""Which code a run is of: the code that this process has loaded, or that of another release.

The code server that a run was created by has written into it what it had loaded: a Python, and
where that finds the code. A run executes that code, also if a worker of another release takes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

from dagster._core.code_pointer import CodePointer
from dagster._core.origin import RepositoryPythonOrigin
from dagster_shared.record import as_dict

__all__ = ["Code", "code_of", "codes_of", "folder_of"]

Code: TypeAlias = tuple[Any, ...]
"""Names some code. It is equal for the same code, however its paths are written."""

_PATHS: Final = ("working_directory", "python_file")


def codes_of(python: str, pointers: Iterable[CodePointer]) -> frozenset[Code]:
    """Return the code of the repositories that `python` has loaded."""
    return frozenset(_code(python, pointer) for pointer in pointers)


def code_of(origin: RepositoryPythonOrigin) -> Code:
    """Return the code that a run is of."""
    return _code(origin.executable_path, origin.code_pointer)


def folder_of(origin: RepositoryPythonOrigin) -> Path | None:
    """Return the folder that the code is loaded from; None: it does not say."""
    folder = getattr(origin.code_pointer, "working_directory", None)
    return Path(folder) if folder else None


def _code(python: str, pointer: CodePointer) -> Code:
    fields = {
        name: os.path.realpath(value) if name in _PATHS and value else value
        for name, value in as_dict(pointer).items()
    }
    if "python_file" in fields:
        # The file says where it is. Its working directory may be where Dagster was started.
        fields.pop("working_directory", None)
    # The program is a link to one that several environments have: its folder says which it is.
    environment = os.path.realpath(os.path.dirname(python))  # noqa: PTH120  # no Path in here
    return (
        environment,
        os.path.realpath(python),
        type(pointer).__name__,
        *sorted(fields.items()),
    )
