"""The hosts themselves: that what is cut is cut, and that what is there is seen."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from engine_teams import until
from network import Host, Network, NetworkError
from support.processes import Daemon

PORT = 8000


@pytest.fixture(scope="module")
def pair(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """Two hosts; the first has a server."""
    folder: Path = tmp_path_factory.mktemp("pair")
    server, client = network.add("server"), network.add("client")
    command = [sys.executable, "-m", "http.server", "--bind", server.address, str(PORT)]
    daemon = Daemon([*server.within, *command], cwd=folder, env={}, log=folder / "server.log")
    until(lambda: answer(client, server) == "connected", why=daemon.output())
    yield server, client
    daemon.kill()


def answer(client: Host, server: Host) -> str:
    """Return what a program on one host meets when it connects to the other."""
    try:
        return client.run(sys.executable, "-c", _CONNECT, server.address, str(PORT)).strip()
    except NetworkError as error:
        return str(error)


_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


class TestFaults:
    def test_a_cable_that_is_out_lets_nothing_through(self, pair: tuple[Host, Host]) -> None:
        server, client = pair
        with client.unplugged():
            assert answer(client, server) in ("TimeoutError", "OSError")
        until(lambda: answer(client, server) == "connected")

    def test_a_silent_host_does_not_answer_one_host(self, pair: tuple[Host, Host]) -> None:
        server, client = pair
        with server.silent_to(client):
            assert "TimeoutError" == answer(client, server)
            with socket.create_connection((server.address, PORT), 5):
                pass  # from the desk
        assert "connected" == answer(client, server)

    def test_a_refusing_host_answers_with_a_reset(self, pair: tuple[Host, Host]) -> None:
        server, client = pair
        with server.refusing(client):
            assert "ConnectionRefusedError" == answer(client, server)
        assert "connected" == answer(client, server)

    def test_packets_are_lost(self, pair: tuple[Host, Host]) -> None:
        server, client = pair
        with client.losing(99):
            assert "TimeoutError" == answer(client, server)
        assert "connected" == answer(client, server)


class TestHost:
    def test_has_a_name_and_an_address_of_its_own(self, pair: tuple[Host, Host]) -> None:
        server, client = pair
        name = "import socket; print(socket.gethostname())"

        assert "server" == server.run(sys.executable, "-c", name).strip()
        assert "client" == client.run(sys.executable, "-c", name).strip()
        assert server.address != client.address

    def test_that_loses_its_power_runs_nothing_any_more(
        self, network: Network, tmp_path: Path
    ) -> None:
        host = network.add("short-lived")
        sleeper = Daemon(
            [*host.within, "sleep", "4321"], cwd=tmp_path, env={}, log=tmp_path / "log"
        )
        process = psutil.Process(sleeper.pid)
        until(lambda: process.name() == "sleep")

        host.lose_power()

        assert -9 == sleeper.wait(10)
