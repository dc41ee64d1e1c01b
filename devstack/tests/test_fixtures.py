"""The pytest plugin that gives other projects real servers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
from devstack.processes import wait_for_end
from devstack_fixtures import DEVSTACK, Database, PostgresServer

TESTING = DEVSTACK / "testing"


class TestDatabase:
    """`database`."""

    def test_is_reached_over_tcp_with_a_password(self, database: Database) -> None:
        with psycopg.connect(database.dsn) as connection:
            row = connection.execute("select current_database(), current_user").fetchone()

        assert (database.name, database.user) == row

    def test_is_dropped_although_a_connection_stays_open(
        self, postgres_server: PostgresServer
    ) -> None:
        with postgres_server.new_database() as fresh:
            lingering = psycopg.connect(fresh.dsn)
        lingering.close()

        found = postgres_server.execute(f"select 1 from pg_database where datname = '{fresh.name}'")

        assert "" == found

    def test_environ_names_every_variable(self) -> None:
        fresh = Database("127.0.0.1", 5, "me", "a/b", "db")

        assert {
            "WAREHOUSE_HOST": "127.0.0.1",
            "WAREHOUSE_PORT": "5",
            "WAREHOUSE_USER": "me",
            "WAREHOUSE_PASSWORD": "a/b",
            "WAREHOUSE_DATABASE": "db",
        } == fresh.environ("WAREHOUSE")
        assert "postgresql://me:a%2Fb@127.0.0.1:5/db" == fresh.dsn


class TestLauncher:
    """The servers of a test session, when the session ends."""

    TEST = (
        "def test_it(postgres_server):\n"
        "    print(postgres_server.pid, postgres_server.port, flush=True)\n"
        "    input()\n"
    )

    def begin(self, folder: Path) -> tuple[subprocess.Popen[str], int]:
        """Start pytest with a test that waits; return it and the process id of its server."""
        (folder / "test_it.py").write_text(self.TEST)
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "devstack_fixtures"]
        process = subprocess.Popen(
            [*command, "--rootdir", str(folder), "-c", "/dev/null", str(folder)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(TESTING)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return process, int(process.stdout.readline().split()[0])

    def test_servers_stop_when_the_tests_end(self, tmp_path: Path) -> None:
        process, pid = self.begin(tmp_path)
        process.communicate("\n")

        assert process.returncode == 0
        assert not psutil.pid_exists(pid)

    def test_servers_stop_when_the_tests_are_killed(self, tmp_path: Path) -> None:
        process, pid = self.begin(tmp_path)
        server = psutil.Process(pid)
        postmaster = server.children()
        process.kill()
        process.communicate()

        assert len(postmaster) == 1
        assert wait_for_end([server, *postmaster], 90) == []

    def test_missing_devstack_says_what_to_do(self, tmp_path: Path) -> None:
        shutil.copytree(TESTING, tmp_path / "devstack" / "testing")
        (tmp_path / "test_it.py").write_text(self.TEST)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "devstack_fixtures",
                "-c",
                "/dev/null",
                tmp_path,
            ],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "devstack" / "testing")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 1
        assert "devstack/.venv is missing or incomplete: run `make setup`." in done.stdout
