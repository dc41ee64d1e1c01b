"""The port of a code server, kept for one supervisor and the servers that it starts.

gRPC lets several servers share a port, without an error: the kernel sends each request to any of
them. That is how a new server takes over from an old one, and how two that know nothing of each
other would answer in turn, one of them with stale code.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from freshline.errors import PortError

__all__ = ["claimed", "client_host"]

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names what others listen on


@contextmanager
def claimed(host: str, port: int) -> Iterator[None]:
    """Keep the port for this user's gRPC servers, and from any other claim. Raises `PortError`.

    A server binds its port only when it has loaded its code, so the port is bound here first.
    """
    with ExitStack() as stack:
        refused: OSError | None = None
        kept = 0
        for family, address in _addresses(host, port):
            try:
                stack.enter_context(_bound(family, address))
                kept += 1
            except OSError as error:
                refused = error
                # A name such as localhost may have an address that this machine does not.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    break
        else:
            refused = None if kept else refused
        if refused:
            raise PortError(
                f"port {port} of {host} cannot be used ({refused.strerror}). Stop the server that "
                "runs there, or choose another port here and in the workspace file of the host."
            )
        yield


def client_host(host: str) -> str:
    """Return where a client on this machine reaches a server that listens on `host`."""
    plain = host.strip("[]")
    reached = _WILDCARDS.get(plain, plain)
    return f"[{reached}]" if ":" in reached else reached


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PortError(
            f"{host} is no address of this machine ({error.strerror}); give --host or "
            "FRESHLINE_HOST one, as in 127.0.0.1."
        ) from None
    return list({(family, address): None for family, _, _, _, address in found})


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    """Return a socket that has the address, and listens to nobody."""
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
    # From here on the kernel gives the port to this user's gRPC servers, and to no other claim.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return bound
