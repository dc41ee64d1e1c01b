"""`devstack serve broker`, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import valkey
from devstack.processes import wait_for_end
from devstack_fixtures import Broker, Launcher
from helpers import command_lines_with, until

Serve = Callable[..., Broker]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The path of a new data directory."""
    return tmp_path / "data" / "broker"


@pytest.fixture
def serve(devstack_launcher: Launcher) -> Iterator[Serve]:
    """Starts brokers, which stop after the test."""
    started: list[Broker] = []

    def start(**options: object) -> Broker:
        broker: Broker = devstack_launcher.serve("broker", kind=Broker, **options)
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.stop()


def client_of(broker: Broker) -> valkey.Valkey:
    return valkey.Valkey.from_url(broker.url, decode_responses=True)


def queue_a_run(broker: Broker) -> None:
    with client_of(broker) as client:
        client.lpush("queue", "a run")


def queued_runs(broker: Broker) -> list[str]:
    with client_of(broker) as client:
        return list(client.lrange("queue", 0, -1))


def setting(broker: Broker, name: str) -> str:
    with client_of(broker) as client:
        return str(client.config_get(name)[name])


def valkey_of(broker: Broker) -> psutil.Process:
    """Return the process of Valkey itself, which the program has started."""
    (process,) = psutil.Process(broker.pid).children()
    return process


def failure(serve: Serve, **options: object) -> str:
    """Start a broker that must not start, and return its message."""
    with pytest.raises(pytest.fail.Exception) as caught:
        serve(**options)
    return str(caught.value)


class TestServing:
    """A broker that has made its data directory itself."""

    def test_announces_an_address_that_works(self, serve: Serve, home: Path) -> None:
        broker = serve(data=home)
        queue_a_run(broker)

        assert ["a run"] == queued_runs(broker)

    @pytest.mark.parametrize("host", [None, "127.0.0.2"])
    def test_listens_on_one_address_alone_and_on_no_socket(
        self, serve: Serve, home: Path, host: str | None
    ) -> None:
        broker = serve(data=home, host=host)
        listening = {
            connection.laddr
            for connection in valkey_of(broker).net_connections("all")
            if connection.status == psutil.CONN_LISTEN or connection.family == socket.AF_UNIX
        }

        assert {(host or "127.0.0.1", broker.port)} == listening

    @pytest.mark.parametrize("password", [None, "wrong"])
    def test_refuses_a_wrong_password(self, serve: Serve, home: Path, password: str | None) -> None:
        broker = serve(data=home)
        client = valkey.Valkey(host=broker.host, port=broker.port, password=password)

        with pytest.raises(valkey.AuthenticationError), client:
            client.ping()

    def test_accepts_the_password_of_the_environment(
        self, serve: Serve, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEVSTACK_BROKER_PASSWORD", 'with "quotes", \\ and # ü')
        broker = serve(data=home)
        client = valkey.Valkey(
            host=broker.host, port=broker.port, password='with "quotes", \\ and # ü'
        )

        with client:
            assert client.ping()

    def test_never_drops_what_is_queued(self, serve: Serve, home: Path) -> None:
        broker = serve(data=home)

        assert "noeviction" == setting(broker, "maxmemory-policy")
        assert "yes" == setting(broker, "appendonly")
        assert "everysec" == setting(broker, "appendfsync")

    def test_hides_its_password_and_data_from_other_users(self, serve: Serve, home: Path) -> None:
        broker = serve(data=home)
        words = [*valkey_of(broker).cmdline(), *psutil.Process(broker.pid).cmdline()]

        assert [word for word in words if broker.password in word] == []
        assert broker.password not in broker.log + (home / "valkey.log").read_text()
        assert "0o700" == oct(home.stat().st_mode & 0o777)


class TestStopping:
    """The end of a broker, and the start of the next one over the same data."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_stops_it_and_its_child(
        self, serve: Serve, home: Path, number: signal.Signals
    ) -> None:
        broker = serve(data=home)
        os.kill(broker.pid, number)
        broker.stop()

        assert 0 == broker.exit_code
        assert [] == command_lines_with(str(home))

    def test_the_end_of_the_parent_stops_it(self, serve: Serve, home: Path) -> None:
        broker = serve(data=home)
        broker.close_stdin()

        until(lambda: not broker.is_running())
        assert [] == command_lines_with(str(home))

    def test_queued_runs_survive_a_restart(self, serve: Serve, home: Path) -> None:
        first = serve(data=home)
        queue_a_run(first)
        first.stop()

        assert ["a run"] == queued_runs(serve(data=home))

    def test_queued_runs_survive_when_everything_is_killed(self, serve: Serve, home: Path) -> None:
        first = serve(data=home)
        server = valkey_of(first)
        queue_a_run(first)
        server.kill()
        first.kill()
        assert wait_for_end([server], 30) == []

        assert ["a run"] == queued_runs(serve(data=home))

    def test_queued_runs_survive_when_the_program_alone_is_killed(
        self, serve: Serve, home: Path
    ) -> None:
        first = serve(data=home)
        queue_a_run(first)
        first.kill()

        assert ["a run"] == queued_runs(serve(data=home))

    def test_program_ends_and_says_why_when_valkey_is_killed(
        self, serve: Serve, home: Path
    ) -> None:
        broker = serve(data=home)
        valkey_of(broker).kill()
        until(lambda: not broker.is_running())

        assert 1 == broker.exit_code
        assert "broker ended by itself" in broker.log


class TestTrouble:
    """Obstacles to a start: each gives one clear message."""

    def test_busy_port_is_named_with_its_setting(self, serve: Serve, home: Path) -> None:
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            port = busy.getsockname()[1]
            message = failure(serve, data=home, port=port)

        assert f"port {port} on 127.0.0.1 is in use" in message
        assert "DEVSTACK_BROKER_PORT" in message
        assert "Traceback" not in message

    def test_second_server_over_the_same_data_is_refused(self, serve: Serve, home: Path) -> None:
        first = serve(data=home)
        queue_a_run(first)

        assert "in use: another server runs on this data" in failure(serve, data=home)
        assert ["a run"] == queued_runs(first)

    def test_broken_data_show_the_message_of_valkey(self, serve: Serve, home: Path) -> None:
        serve(data=home).stop()
        (home / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
        message = failure(serve, data=home)

        assert "Invalid AOF manifest file format" in message
        assert str(home / "valkey.log") in message

    def test_data_directory_that_is_a_file_is_refused(self, serve: Serve, home: Path) -> None:
        home.parent.mkdir()
        home.write_text("")

        assert f"File exists: {home}" in failure(serve, data=home)
