"""`devstack serve postgres`, as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from devstack.processes import wait_for_end
from devstack_fixtures import Launcher, PostgresServer
from helpers import DEVSTACK, command_lines_with, until

Serve = Callable[..., PostgresServer]


@pytest.fixture(scope="module")
def template(devstack_launcher: Launcher) -> Path:
    """A data directory that has been served once; copying one is quicker than making one."""
    home = devstack_launcher.new_folder("template") / "postgres"
    devstack_launcher.serve("postgres", data=home).stop()
    return home


@pytest.fixture
def new_home(quick_folder: Path) -> Path:
    """The path of a new data directory, outside pytest's own, which other users cannot enter."""
    return quick_folder / "data" / "postgres"


@pytest.fixture
def home(new_home: Path, template: Path) -> Path:
    """A data directory that has been served before."""
    new_home.parent.mkdir(mode=0o711)
    subprocess.run(["cp", "-a", template, new_home], check=True)
    return new_home


@pytest.fixture
def serve(devstack_launcher: Launcher, quick_folder: Path) -> Iterator[Serve]:
    """Starts servers. They stop before the folder with their data is deleted."""
    started: list[PostgresServer] = []

    def start(**options: object) -> PostgresServer:
        server = devstack_launcher.serve("postgres", kind=PostgresServer, **options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def folder(devstack_launcher: Launcher) -> Path:
    """The data directory of `server`."""
    return devstack_launcher.new_folder("served") / "postgres"


@pytest.fixture(scope="module")
def server(devstack_launcher: Launcher, folder: Path) -> Iterator[PostgresServer]:
    """A server that has made its data directory itself."""
    server = devstack_launcher.serve("postgres", kind=PostgresServer, data=folder)
    yield server
    server.stop()


def failure(serve: Serve, **options: object) -> str:
    """Start a server that must not start, and return its message."""
    with pytest.raises(pytest.fail.Exception) as caught:
        serve(**options)
    return str(caught.value)


def postmaster(home: Path) -> psutil.Process:
    pid = (home / "cluster" / "postmaster.pid").read_text().splitlines()[0]
    return psutil.Process(int(pid))


class TestServing:
    """A server that has made its data directory itself."""

    def test_announces_an_address_that_works(self, server: PostgresServer) -> None:
        with psycopg.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            dbname=server.database,
        ) as connection:
            row = connection.execute("select current_setting('is_superuser')").fetchone()

        assert row == ("on",)

    def test_listens_on_loopback_alone_and_on_no_socket(
        self, server: PostgresServer, folder: Path
    ) -> None:
        listening = {
            connection.laddr
            for connection in postmaster(folder).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }

        assert listening == {("127.0.0.1", server.port)}
        assert server.execute("show unix_socket_directories").strip() == ""

    def test_lets_the_hosts_of_its_network_in_when_it_listens_elsewhere(
        self, serve: Serve, new_home: Path
    ) -> None:
        server = serve(data=new_home, host="127.0.0.2")

        assert "127.0.0.2" == server.host
        assert "127.0.0.2" == server.execute("show listen_addresses").strip()

    @pytest.mark.parametrize("password", ["", "wrong"])
    def test_refuses_a_wrong_password(self, server: PostgresServer, password: str) -> None:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=server.host, port=server.port, user=server.user, password=password)

    def test_allows_enough_connections_for_dagster(self, server: PostgresServer) -> None:
        assert int(server.execute("show max_connections")) >= 200

    def test_syncs_to_disk_unless_throwaway(self, server: PostgresServer) -> None:
        assert server.execute("show fsync") == "on\n"

    def test_hides_its_password_and_data_from_other_users(
        self, server: PostgresServer, folder: Path
    ) -> None:
        assert server.is_running()
        assert oct((folder / "password").stat().st_mode & 0o777) == "0o600"
        assert oct((folder / "cluster").stat().st_mode & 0o777) == "0o700"

    def test_runs_as_the_owner_of_its_data(self, server: PostgresServer, folder: Path) -> None:
        assert server.is_running()
        assert postmaster(folder).uids().real == (folder / "cluster").stat().st_uid


class TestStopping:
    """The end of a server, and the start of the next one over the same data."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_stops_it_and_its_children(
        self, serve: Serve, home: Path, number: signal.Signals
    ) -> None:
        server = serve(data=home)
        os.kill(server.pid, number)
        server.stop()

        assert server.exit_code == 0
        assert command_lines_with(str(home)) == []

    def test_data_and_password_survive_a_restart(self, serve: Serve, home: Path) -> None:
        first = serve(data=home)
        first.execute("create table kept as select 42 as answer")
        first.stop()
        second = serve(data=home)

        assert second.execute("select answer from kept") == "42\n"
        assert second.password == first.password

    def test_throwaway_deletes_its_data(self, serve: Serve, home: Path) -> None:
        server = serve(data=home, throwaway=True)
        server.stop()

        assert not home.exists()

    def test_the_end_of_the_parent_stops_it(self, serve: Serve, home: Path) -> None:
        server = serve(data=home)
        server.close_stdin()

        until(lambda: not server.is_running())
        assert command_lines_with(str(home)) == []

    def test_starts_with_its_data_after_everything_was_killed(
        self, serve: Serve, home: Path
    ) -> None:
        first = serve(data=home)
        first.execute("create table kept as select 42 as answer")
        main = postmaster(home)
        family = [main, *main.children(recursive=True)]
        first.kill()
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        assert wait_for_end(family, 30) == []
        second = serve(data=home)

        assert second.execute("select answer from kept") == "42\n"

    def test_starts_with_its_data_after_the_program_alone_was_killed(
        self, serve: Serve, home: Path
    ) -> None:
        first = serve(data=home)
        first.execute("create table kept as select 42 as answer")
        first.kill()
        second = serve(data=home)

        assert second.execute("select answer from kept") == "42\n"

    def test_program_ends_and_says_why_when_postgres_is_killed(
        self, serve: Serve, home: Path
    ) -> None:
        server = serve(data=home)
        postmaster(home).kill()
        until(lambda: not server.is_running())

        assert server.exit_code == 1
        assert "postgres ended by itself" in server.log

    def test_starts_although_its_lock_file_names_another_program(
        self, serve: Serve, home: Path
    ) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            lock = home / "cluster" / "postmaster.pid"
            lock.write_text(f"{other.pid}\n{home / 'cluster'}\n1\n1\n\n127.0.0.1\n1 1\nready\n")
            shutil.chown(lock, (home / "cluster").stat().st_uid, (home / "cluster").stat().st_gid)
            server = serve(data=home)

            assert server.execute("select 1") == "1\n"
            assert other.poll() is None
            other.communicate(b"\n")


class TestTrouble:
    """Obstacles to a start: each is removed or gives one clear message."""

    def test_busy_port_is_named_with_its_setting(self, serve: Serve, home: Path) -> None:
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            port = busy.getsockname()[1]
            message = failure(serve, data=home, port=port)

        assert f"port {port} on 127.0.0.1 is in use" in message
        assert "DEVSTACK_POSTGRES_PORT" in message
        assert "Traceback" not in message

    def test_second_server_over_the_same_data_is_refused(self, serve: Serve, home: Path) -> None:
        serve(data=home)

        assert "in use: another server runs on this data" in failure(serve, data=home)

    def test_half_made_cluster_is_removed(self, serve: Serve, home: Path) -> None:
        """An interrupted `initdb` leaves such a folder."""
        (home / "cluster.new-abc" / "cluster").mkdir(parents=True)
        (home / "cluster.new-abc" / "cluster" / "PG_VERSION").write_text("18\n")
        server = serve(data=home)

        assert server.execute("select 1") == "1\n"
        assert list(home.glob("cluster.new-*")) == []

    def test_broken_cluster_shows_the_message_of_postgres(self, serve: Serve, home: Path) -> None:
        (home / "cluster" / "global" / "pg_control").unlink()

        assert "could not find the database system" in failure(serve, data=home)

    def test_lost_password_file_says_what_to_do(self, serve: Serve, home: Path) -> None:
        (home / "password").unlink()

        assert "devstack reset" in failure(serve, data=home)

    def test_wrong_password_file_says_what_to_do(self, serve: Serve, home: Path) -> None:
        (home / "password").write_text("other\n")

        assert "does not open the database" in failure(serve, data=home)

    def test_data_directory_that_is_a_file_is_refused(self, serve: Serve, new_home: Path) -> None:
        new_home.parent.mkdir()
        new_home.write_text("")

        assert f"File exists: {new_home}" in failure(serve, data=new_home)

    def test_environment_of_another_postgres_is_ignored(
        self, serve: Serve, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGDATA", "/nowhere")
        monkeypatch.setenv("PGPORT", "1")
        monkeypatch.setenv("PGHOST", "/nowhere")
        monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
        server = serve(data=home)
        for name in ("PGDATA", "PGPORT", "PGHOST", "PGOPTIONS"):
            monkeypatch.delenv(name)

        assert server.execute("select 1") == "1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount and to switch users")
class TestAsRoot:
    """Tests that only root can run."""

    @pytest.fixture
    def small_disk(self, new_home: Path) -> Iterator[Path]:
        home = new_home
        home.mkdir(parents=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=150m,mode=755", "tmpfs", home], check=False
        )
        if mounted.returncode != 0:
            pytest.skip("this kernel does not let us mount a small disk")
        yield home
        subprocess.run(["umount", home], check=True)

    def test_full_disk_is_reported_before_anything_is_made(
        self, serve: Serve, small_disk: Path
    ) -> None:
        with (small_disk / "ballast").open("wb") as file:
            file.write(b"\0" * 100 * 2**20)

        assert f"The disk of {small_disk} is full" in failure(serve, data=small_disk)

    def test_disk_that_filled_up_later_is_reported(self, serve: Serve, small_disk: Path) -> None:
        serve(data=small_disk).stop()
        free = shutil.disk_usage(small_disk).free
        (small_disk / "ballast").write_bytes(b"\0" * free)

        assert "is full. Make room and start again" in failure(serve, data=small_disk)

    def test_starts_below_a_directory_that_others_may_not_enter(
        self, serve: Serve, new_home: Path
    ) -> None:
        """Such as a home directory that only its owner may enter."""
        new_home.parent.mkdir(mode=0o700)
        server = serve(data=new_home)

        assert server.execute("select 1") == "1\n"

    def test_runs_as_the_ordinary_user_who_made_the_data(self, serve: Serve, home: Path) -> None:
        for path in [home, *home.rglob("*")]:
            os.chown(path, 12345, 12345, follow_symlinks=False)
        serve(data=home)

        assert postmaster(home).uids().real == 12345

    def test_starts_for_an_ordinary_user(self, as_user: list[str], new_home: Path) -> None:
        command = [*as_user, DEVSTACK, "serve", "postgres", "--with-parent", "--data", new_home]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            facts = json.loads(process.stdout.readline())
            with psycopg.connect(
                host=facts["host"],
                port=facts["port"],
                user=facts["user"],
                password=facts["password"],
            ) as connection:
                row = connection.execute("select 1").fetchone()
            process.communicate()

        assert row == (1,)
        assert process.returncode == 0
        assert command_lines_with(str(new_home)) == []

    def test_ordinary_user_may_not_use_the_data_of_another(
        self, as_user: list[str], home: Path
    ) -> None:
        os.chown(home / "cluster", 12345, 12345)
        done = subprocess.run(
            [*as_user, DEVSTACK, "serve", "postgres", "--data", home],
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 1
        assert f"{home / 'cluster'} belongs to" in done.stderr
        assert "Traceback" not in done.stderr
