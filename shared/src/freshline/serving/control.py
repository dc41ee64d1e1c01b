"""The control sockets by which a supervisor is asked for things, and how they are asked.

A supervisor has one Unix socket for each location that it keeps going, in the folder that
`FRESHLINE_RUN_DIR` names: ``LOCATION.server.sock`` or ``LOCATION.worker.sock``. Only its own user
can open it: who can, can have any program started. A conversation is lines of JSON:

- ``{}``: what is served? The answer is one line, with ``release``, the folder that it is loaded
  from, and ``source``, what the supervisor was told to load there.
- ``{"release": FOLDER, "seconds": 180}``: put the code of that folder in the place of what is
  served. Lines with ``progress`` follow, then one with ``done`` or ``error``. A client that has
  read ``done`` answers ``{"keep": true}``, and reads ``kept``. If it closes the socket, or its own
  side of it, before that, the former code has its place again, and the last line has ``back``.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import quote

from freshline.errors import ControlError

__all__ = ["Client", "Control", "Conversation", "Kind", "control_path", "run_folder", "socket_path"]

Kind: TypeAlias = Literal["server", "worker"]
Line: TypeAlias = dict[str, Any]

RUN_DIR: Final = "FRESHLINE_RUN_DIR"
_LONGEST: Final = 100
"""Characters of a path that every kernel takes for a socket."""
_WRITE_SECONDS: Final = 1.0


def run_folder() -> Path | None:
    """Return the folder of the control sockets; None: FRESHLINE_RUN_DIR is not set."""
    named = os.environ.get(RUN_DIR)
    return Path(named).absolute() if named else None


def control_path(folder: Path, location: str, kind: Kind) -> Path:
    """Return the path of a location's control socket. Raises `ControlError` if it is too long."""
    return socket_path(folder / f"{quote(location, safe='')}.{kind}.sock", RUN_DIR)


def socket_path(path: Path, variable: str) -> Path:
    """Return `path`, in a folder that the environment's `variable` names.

    Raises `ControlError` if it is too long for a socket.
    """
    if len(os.fsencode(path)) > _LONGEST:
        raise ControlError(
            f"{path} is too long for a socket ({_LONGEST} bytes at most); set {variable} to a "
            "folder with a shorter path."
        )
    return path


class Client:
    """A client of a control socket, as the supervisor sees it."""

    def __init__(
        self, selector: selectors.BaseSelector, stream: socket.socket, location: str
    ) -> None:
        self.location = location
        self._selector = selector
        self._stream = stream
        self._text = b""
        stream.settimeout(_WRITE_SECONDS)
        selector.register(stream, selectors.EVENT_READ, self)

    def say(self, **line: Any) -> None:
        """Send one line. Nobody waits for a client that is gone or does not read."""
        with suppress(OSError):
            self._stream.sendall(json.dumps(line).encode() + b"\n")

    def read(self) -> Iterator[Line | None]:
        """Yield what has come since the last time; None: nothing comes any more."""
        try:
            piece = self._stream.recv(65_536)
        except OSError:
            piece = b""
        *lines, self._text = (self._text + piece).split(b"\n")
        for line in lines:
            yield _parsed(line)
        if not piece:
            self._ignore()
            yield None

    def close(self) -> None:
        """End the conversation."""
        self._ignore()
        self._stream.close()

    def _ignore(self) -> None:
        with suppress(KeyError, ValueError):  # it was ignored before
            self._selector.unregister(self._stream)


class Control:
    """The control sockets of one supervisor: `paths`, by location. Close it at the end.

    Raises `ControlError` if another supervisor answers at one of them.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._selector = selectors.DefaultSelector()
        self._listening: dict[Path, socket.socket] = {}
        try:
            for location, path in paths.items():
                self._listening[path] = _listening(path)
                self._selector.register(self._listening[path], selectors.EVENT_READ, location)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, seconds: float) -> Iterator[tuple[Client, Line | None]]:
        """Yield what clients ask for, after at most `seconds`; None: the client asks no more."""
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Client):
                for line in key.data.read():
                    yield key.data, line
            elif isinstance(key.fileobj, socket.socket):
                with suppress(OSError):  # it went away before it was let in
                    stream, _ = key.fileobj.accept()
                    Client(self._selector, stream, key.data)

    def close(self) -> None:
        """Close all sockets, and delete their files."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Client):
                key.data.close()
        for path, listening in self._listening.items():
            listening.close()
            path.unlink(missing_ok=True)
        self._selector.close()


def _listening(path: Path) -> socket.socket:
    """Return a socket that listens at `path`, for this user alone. Raises `ControlError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_left(path)
        listening = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listening.bind(os.fspath(path))
            listening.listen()
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(before)
    except OSError as error:
        raise ControlError(
            f"the control socket {path} cannot be made: {error.strerror}; set {RUN_DIR} to a "
            "folder of this user."
        ) from None
    return listening


def _remove_left(path: Path) -> None:
    """Delete the file that a supervisor has left that was killed. Raises `ControlError`."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise ControlError(
        f"another program answers at {path}: this location has a supervisor here already. Ask that "
        f"one by freshline deploy, stop it, or give this one a {RUN_DIR} of its own."
    )


class Conversation:
    """A conversation with the supervisor at `path`. Raises `ControlError`.

    `seconds` is how long it may say nothing.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._stream = socket.socket(socket.AF_UNIX)
        self._stream.settimeout(seconds)
        try:
            self._stream.connect(os.fspath(path))
        except OSError as error:
            self._stream.close()
            raise ControlError(
                f"no supervisor answers at {path} ({error.strerror}); start the service of the "
                "location, and see its log if it has ended."
            ) from None
        self._file = self._stream.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._stream.close()

    def ask(self, line: Line) -> None:
        """Send one line. Raises `ControlError`."""
        try:
            self._stream.sendall(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise ControlError(f"the supervisor at {self._path} is gone: {error}.") from None

    def lines(self) -> Iterable[Line]:
        """Yield the lines of the answer until it is over. Raises `ControlError`."""
        while True:
            try:
                text = self._file.readline()
            except TimeoutError:
                raise ControlError(
                    f"the supervisor at {self._path} says nothing any more; see its log."
                ) from None
            except OSError as error:
                raise ControlError(f"the supervisor at {self._path} is gone: {error}.") from None
            if not text:
                return
            yield _parsed(text)

    def give_up(self) -> None:
        """Ask for nothing more; the supervisor can still say what it does."""
        with suppress(OSError):  # it is gone
            self._stream.shutdown(socket.SHUT_WR)


def _parsed(text: bytes) -> Line:
    """Return the line; what is no object becomes one with an unknown field."""
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"unreadable": text.decode(errors="replace").strip()}
