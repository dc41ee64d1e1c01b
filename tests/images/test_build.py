"""The images, built and run for real: a run of a team, made by what its image and the host's serve.

Each program is in a container of its own: as user 1000, on a root that it cannot write, with a
process table and a host name of its own. They share this machine's loopback, as the pod of a
cluster shares nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import yaml
from devstack_fixtures import Broker, Database, Launcher, PostgresServer
from sandbox import Builder, Image, missing
from support.dagster import GraphQL, free_port
from support.processes import Daemon
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

TEAM = "analytics_core"
NAME = f"localhost/{TEAM}:42"
WRITTEN = {
    "team": ("/tmp", "/srv/freshline/.local", "/srv/freshline/.dbt"),  # noqa: S108
    "host": ("/tmp", "/srv/freshline/.local"),  # noqa: S108
}
WORKSPACE = "/etc/freshline/workspace.yaml"


@pytest.fixture(scope="module")
def builder(devstack_launcher: Launcher) -> Builder:
    builder = Builder(devstack_launcher.new_folder("images"))
    builder.make_base()
    return builder


@pytest.fixture(scope="module")
def team(builder: Builder) -> Image:
    return builder.build("team", LOCATION=TEAM, IMAGE=NAME)


@pytest.fixture(scope="module")
def host(builder: Builder) -> Image:
    return builder.build("host")


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """Dagster's database and the warehouse, with what the team reads of another."""
    with postgres_server.new_database() as database:
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            connection.execute("create schema postgres")
            connection.execute(
                "create table postgres.stargazers as select 'acme/tools' as repository, "
                "7::bigint as user_id, timestamptz '2026-01-01 00:00Z' as starred_at, "
                "timestamptz '2026-01-02 00:00Z' as _airbyte_extracted_at"
            )
            connection.execute(
                "create table postgres.stargazers_user as select 'acme/tools' as repository, "
                "7::bigint as user_id, 'ada' as login"
            )
        yield database


class Containers:
    """Starts containers of both images, with one environment; ends them all at last."""

    def __init__(self, images: dict[str, Image], folder: Path, env: dict[str, str]) -> None:
        self._images = images
        self._folder = folder
        self._env = env
        self._started: list[Daemon] = []
        self.port = free_port()
        workspace = folder / "workspace.yaml"
        server = {"location_name": TEAM, "host": "127.0.0.1", "port": self.port}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        workspace.chmod(0o644)
        self._mounted = {"team": {}, "host": {WORKSPACE: workspace}}

    def start(self, kind: str, name: str, *arguments: str) -> Daemon:
        """Start a container that is called `name`; its output is in `name`.log."""
        command = self._command(kind, name, arguments)
        log = self._folder / f"{name}.log"
        started = Daemon(command, cwd=self._folder, env=os.environ, log=log)
        self._started.append(started)
        return started

    def run(self, kind: str, name: str, *arguments: str) -> tuple[int, str]:
        """Run a program in a container with the host name `name`, as a probe does.

        Returns its status and its output.
        """
        command = self._command(kind, name, arguments, entrypoint=())
        log = self._folder / f"{name}-{len(self._started)}.log"
        started = Daemon(command, cwd=self._folder, env=os.environ, log=log)
        self._started.append(started)
        return started.wait(300), started.output()

    def stop(self) -> None:
        for daemon in self._started:
            daemon.kill()

    def _command(
        self, kind: str, name: str, arguments: tuple[str, ...], entrypoint: Any = None
    ) -> list[str]:
        return self._images[kind].command(
            arguments,
            host=name,
            written=WRITTEN[kind],
            env=self._env,
            mounted=self._mounted[kind],
            entrypoint=entrypoint,
        )


@pytest.fixture(scope="module")
def containers(
    team: Image,
    host: Image,
    database: Database,
    broker_server: Callable[..., Broker],
    devstack_launcher: Launcher,
) -> Iterator[Containers]:
    env = {
        **database.environ("DAGSTER_PG"),
        **database.environ("WAREHOUSE"),
        "FRESHLINE_BROKER_URL": broker_server().url,
    }
    folder = devstack_launcher.new_folder("containers")
    containers = Containers({"team": team, "host": host}, folder, env)
    yield containers
    containers.stop()


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """Have a container end within half a minute of SIGTERM, as an engine asks it to."""
    try:
        yield daemon
        os.kill(program_of(daemon), signal.SIGTERM)
        wait_until(lambda: not daemon.is_running(), "it has ended", seconds=30)
        assert not daemon.members()
    except BaseException:
        print(daemon.output()[-6000:])
        raise
    finally:
        daemon.kill()


def program_of(daemon: Daemon) -> int:
    """Return the process that an engine would send its signals to: the first in the container."""
    process = psutil.Process(daemon.pid)
    while Path(process.exe()).name in ("bwrap", "setpriv"):
        (process,) = process.children()
    return process.pid


def test_an_image_has_the_code_of_its_team_and_nothing_private(team: Image, host: Image) -> None:
    assert team.has(f"/srv/freshline/{TEAM}/src/{TEAM}/definitions.py")
    assert team.has(f"/srv/freshline/{TEAM}/dbt_project_1/target/manifest.json")
    macros = ("lib", "python3*", "site-packages", "freshline", "dbt", "freshline_dbt", "macros")
    (tests,) = team.root.joinpath("opt", "freshline").glob("/".join((*macros, "tests")))
    assert "accepted_range.sql" in {file.name for file in tests.iterdir()}
    for image in (team, host):
        for path in (".env", "shared/.env", f"{TEAM}/.env", "deploy/secrets", ".git", "tests"):
            assert not image.has(f"/srv/freshline/{path}"), path
    assert not team.has("/srv/freshline/ingestion")
    assert not team.has(f"/srv/freshline/{TEAM}/tests")
    assert not host.has(f"/srv/freshline/{TEAM}")
    assert not list(host.root.glob("opt/freshline/lib/python3*/site-packages/pytest"))


def test_an_image_says_who_runs_it_and_what_it_is_called(team: Image, host: Image) -> None:
    assert "1000:1000" == team.config["User"] == host.config["User"]
    assert f"DAGSTER_CURRENT_IMAGE={NAME}" in team.config["Env"]
    assert ["freshline"] == team.config["Entrypoint"]


def test_a_run_of_the_team_is_made_in_its_containers(
    containers: Containers, database: Database
) -> None:
    module = ("-m", f"{TEAM}.definitions")
    port = str(containers.port)
    web = free_port()
    webserver = ("dagster-webserver", "-h", "127.0.0.1", "-p", str(web), "-w", WORKSPACE)
    graphql = GraphQL(f"http://127.0.0.1:{web}")

    with running(containers.start("host", "webserver", *webserver)):
        wait_until(graphql.is_up, "the webserver answers", seconds=120)
        server = ("serve", TEAM, "--host", "127.0.0.1", "--port", port, *module)
        worker = ("worker", TEAM, *module, "--places", "1", "--drain", "5")
        with (
            running(containers.start("host", "daemon", "dagster-daemon", "run", "-w", WORKSPACE)),
            running(containers.start("team", "server", *server)),
            running(containers.start("team", "worker", *worker)) as started,
        ):
            ready = ("freshline", "ready", TEAM, "--port", port)
            assert (0, "") == containers.run("team", "server", *ready)
            wait_until(lambda: takes_runs(containers, "worker"), "the worker is ready", seconds=120)
            assert not takes_runs(containers, "another-host")
            graphql.reload(TEAM)
            assert {TEAM: "LOADED"} == graphql.locations()

            # The second one finds what dbt has parsed for the first.
            for _ in range(2):
                run_id = graphql.launch(TEAM, "mart/mart_gh_stargazer")
                status = wait_until(
                    lambda run_id=run_id: ended(graphql, run_id), "the run has ended", seconds=240
                )
                assert "SUCCESS" == status

            kept = Path(f"/proc/{program_of(started)}/root/srv/freshline/.dbt").iterdir()
            assert ["dbt_project_1.msgpack"] == [file.name for file in kept]

    with psycopg.connect(database.dsn) as connection:
        rows = connection.execute("select user_login from mart.mart_gh_stargazer").fetchall()
    assert [("ada",)] == rows


def takes_runs(containers: Containers, host: str) -> bool:
    status, output = containers.run("team", host, "python", "deploy/worker_ready.py", TEAM)
    assert status in (0, 1), output
    return status == 0


def ended(graphql: GraphQL, run_id: str) -> str | None:
    status: str = graphql.run(run_id)["status"]
    return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None
