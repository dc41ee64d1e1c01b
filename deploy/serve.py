"""Become the code server of a location: what `deploy/serve` runs in the location's environment."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

HOST = "127.0.0.1"


def main(location: str, port: str) -> NoReturn:
    claim(location, port)
    # A shell starts what is behind `&` with SIGINT ignored, and Dagster takes SIGTERM for a SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--host", HOST, "--port", port]
    command += ["--module-name", f"{location}.definitions", "--location-name", location]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is needed


def claim(location: str, port: str) -> None:
    """Keep the port from now on for this process and what it becomes; exit if it is in use.

    Otherwise two servers could serve one port, without an error: gRPC shares a port with everybody
    who shares it too, and the kernel would send each request to either of them. A server binds its
    port only when it has loaded its code, so the port is bound here first.
    """
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit(f"{location}: {port} is no port. Choose a number: deploy/serve {location} 4001")
    # Left open: it is inherited by what this process becomes.
    claimed = socket.socket()
    claimed.set_inheritable(True)
    # What a server that has ended leaves in the kernel for a minute is no obstacle.
    claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claimed.bind((HOST, int(port)))
    except OSError as error:
        sys.exit(
            f"{location}: port {port} of {HOST} cannot be used ({error.strerror}). Stop the server "
            "that runs there, or change the port here and in deploy/workspace.yaml."
        )
    # From here on the kernel gives the port to this user's gRPC server, and to no other claim.
    claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    claimed.detach()


if __name__ == "__main__":
    main(*sys.argv[1:])
