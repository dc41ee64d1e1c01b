"""TCP ports: a free one, or a clear message about one that is taken."""

from __future__ import annotations

import socket

from devstack.errors import DevstackError

LOOPBACK = "127.0.0.1"


def listening_socket(port: int, *, purpose: str, host: str = LOOPBACK) -> socket.socket:
    """Return a socket bound to a port of `host`; `port` 0 takes any free one.

    Raises `DevstackError` when the port is taken. The message names the setting that chooses
    another port, `DEVSTACK_<PURPOSE>_PORT`.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except PermissionError as error:
        listener.close()
        raise DevstackError(
            f"{purpose}: port {port} needs privileges this user lacks. Choose one above 1023 with "
            f"DEVSTACK_{purpose.upper()}_PORT in .env (or --port)."
        ) from error
    except OSError as error:
        listener.close()
        raise DevstackError(busy_port_message(port, purpose=purpose, host=host)) from error
    return listener


def busy_port_message(port: int, *, purpose: str, host: str = LOOPBACK) -> str:
    """Return the message for the user about a port that another program uses."""
    return (
        f"{purpose}: port {port} on {host} is in use by another program. Stop that program, or "
        f"choose another port with DEVSTACK_{purpose.upper()}_PORT in .env (or --port)."
    )


def claim_port(port: int, *, purpose: str, host: str = LOOPBACK) -> int:
    """Return a port for a program that binds it itself: `port`, or a free one when that is 0.

    Raises `DevstackError` when the port is taken.
    """
    with listening_socket(port, purpose=purpose, host=host) as listener:
        return int(listener.getsockname()[1])
