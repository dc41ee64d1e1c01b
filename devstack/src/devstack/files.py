"""Files with secrets, folders for one server at a time, and the ends of logs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from devstack.errors import DevstackError


def write_private(path: Path, text: str) -> None:
    """Replace the content of a file in one step. Its owner alone may read it."""
    # mkstemp makes files with mode 0600.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def lock_folder(folder: Path) -> IO[str]:
    """Lock the data of a server, and return the open file that holds the lock until it is closed.

    A process that inherits the file holds the lock as well. Raises `DevstackError` if another
    server has locked the folder.
    """
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise DevstackError(f"{folder} is in use: another server runs on this data.") from error
    return file


def text_from(path: Path, offset: int) -> str:
    """Return what was written into a file after its first `offset` bytes."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a file; an empty text if there is no such file."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
