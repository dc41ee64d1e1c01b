"""The port of a location: whoever connects to it speaks with the code server that serves now.

gRPC lets several servers share a port, without an error, and each connection gets any of them. So
while one takes over from another, Dagster could read the definitions of the old one under the id of
the new one, and would keep them until it is restarted. Here each server has a socket of its own,
and a connection to the port is passed to one server: to the old one up to some moment, and then to
the new one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from freshline.errors import PortError

__all__ = ["Port"]

_PIECE: Final = 65_536


class Port:
    """A port, kept as long as the context is open. Raises `PortError` if another program has it.

    It takes no connections before `pass_to`.
    """

    def __init__(self, host: str, port: int) -> None:
        self.address: Final = f"{host}:{port}"
        self._sockets = _bound(host, port)
        self._path: Path | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(_end_tasks(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for one in self._sockets:
            one.close()

    def pass_to(self, path: Path) -> None:
        """From now on, pass new connections to the server that listens on the socket `path`."""
        listens, self._path = self._path is not None, path
        if not listens:
            for one in self._sockets:
                serving = asyncio.start_server(self._pass, sock=one)
                asyncio.run_coroutine_threadsafe(serving, self._loop).result()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from a client, and what the server answers."""
        try:
            answers, questions = await asyncio.open_unix_connection(self._path)
        except OSError:  # the server has ended, and the next one does not serve yet
            writer.close()
            return
        await asyncio.gather(_pump(reader, questions), _pump(answers, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write all that can be read, and then close."""
    with suppress(OSError):  # one of the two has gone: the other learns it by the close
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bound(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of `host`; none listens yet. Raises `PortError`."""
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        refused: OSError | None = None
        for family, address in _addresses(host, port):
            try:
                sockets.append(stack.enter_context(_bind(family, address)))
            except OSError as error:
                refused = error
                # A name such as localhost may have an address that this machine does not.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    break
        else:
            refused = None if sockets else refused
        if refused:
            raise PortError(
                f"port {port} of {host} cannot be used ({refused.strerror}). Stop the server that "
                "runs there, or choose another port here and in the workspace file of the host."
            )
        stack.pop_all()
        return sockets


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PortError(
            f"{host} is no address of this machine ({error.strerror}); give --host or "
            "FRESHLINE_HOST one, as in 127.0.0.1."
        ) from None
    return list({(family, address): None for family, _, _, _, address in found})


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family)
    try:
        # What a server that has ended leaves in the kernel for a minute is no obstacle.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    # From here on nobody else can bind it, although nothing listens yet.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return bound
