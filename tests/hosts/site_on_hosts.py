"""A workspace on several hosts: Dagster's, the broker's, the database's, and those of two teams.

By default team `one` has two hosts: its code server and workers on the first, workers alone on the
second. Team `two` has one host.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psutil
import pytest
import yaml
from devstack_fixtures import Broker, Launcher, PostgresServer
from engine_teams import Runs, Server, instance_settings, until
from freshline.engine.broker import SILENT_AFTER
from freshline.engine.broker import Broker as Words
from network import Host, Network, processes_in_network_of, small_disk
from support.dagster import HOST_BIN, GraphQL
from support.processes import Daemon

__all__ = ["CODE", "Site", "Unit", "running_site"]

CODE = Path(__file__).with_name("team.py")
CODE_SERVER_PORT = 4000
TEAMS: Mapping[str, Sequence[str]] = {"one": ("one-a", "one-b"), "two": ("two-a",)}
"""The hosts of each team; the code server is on the first."""

DATABASE_MEGABYTES = 500
# A connection that a cut has left hanging is given up in seconds, not in a quarter of an hour.
DATABASE_PARAMETERS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


@dataclass
class Unit:
    """A program that its host keeps going, as a unit of systemd."""

    host: Host
    command: Sequence[str | Path]
    cwd: Path
    environment: Mapping[str, str]
    log_file: Path
    _daemon: Daemon | None = field(init=False, default=None)
    """None: it was not started."""
    _wanted: bool = field(init=False, default=False)
    """Whether it is to be started again when it ends."""

    def keep(self) -> None:
        """Start it again if it has ended by itself."""
        if self._wanted and self._daemon and not self._daemon.is_running():
            self.start()

    def start(self) -> None:
        self._wanted = True
        self._daemon = Daemon(
            [*self.host.within, *self.command],
            cwd=self.cwd,
            env=self.environment,
            log=self.log_file,
        )

    @property
    def pid(self) -> int:
        assert self._daemon
        return self._daemon.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def stop(self) -> int:
        """Tell it to end as systemd does, and return its exit status."""
        self.tell_to_end()
        return self.wait()

    def tell_to_end(self) -> None:
        self.forget()
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = 60) -> int:
        assert self._daemon
        return self._daemon.wait(seconds)

    def forget(self) -> None:
        """Do not start it again when it ends."""
        self._wanted = False

    def kill(self) -> None:
        """Kill it and all that it has started, as systemd does with what is left of a unit."""
        self.forget()
        if self._daemon:
            self._daemon.kill()

    def kill_alone(self) -> None:
        """Kill its first process, and nothing that this has started."""
        self.forget()
        os.kill(self.pid, signal.SIGKILL)
        self.wait(10)


class Site(Runs):
    """The hosts, and what runs on them."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        launcher: Launcher,
        database: Path,
        teams: Mapping[str, Sequence[str]],
        policies: bool,
    ) -> None:
        self.folder = folder
        self.teams = teams
        self._policies = policies
        self.gates = folder / "gates"
        self.gates.mkdir()
        names = ["dagster", "broker", "database"]
        names += [host for hosts in teams.values() for host in hosts]
        self.hosts = {name: network.add(name) for name in names}
        self._launcher = launcher
        self.broker = self._server(
            *("broker", "broker", Broker, launcher.new_folder("broker")),
            port=6379,
            password=secrets.token_hex(16),
        )
        self.database = database
        """The folder of the database's data, a small disk of its own."""
        self.postgres = self._server("database", "postgres", PostgresServer, database, port=5432)
        self.words = Words(self.broker.program.url)
        self.servers: dict[str, Unit] = {}
        """The code server of each team."""
        self.workers: dict[str, Unit] = {}
        """The workers on each host."""
        workspace = str(self._write_workspace())
        self.daemon = self._unit(
            *("dagster", "daemon", "dagster-daemon", "run", "-w", workspace), cwd=folder
        )
        self.webserver = self._unit(
            *("dagster", "webserver", "dagster-webserver", "-w", workspace),
            *("-h", self.hosts["dagster"].address, "-p", "3000"),
            cwd=folder,
        )
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep_units)
        self.graphql = GraphQL(f"http://{self.hosts['dagster'].address}:3000")

    # --- programs -------------------------------------------------------------------------

    def _server(
        self, host: str, program: str, kind: type[Any], data: Path, **options: Any
    ) -> Server:
        """Serve a program of devstack on a host."""

        def start(**options: Any) -> Any:
            within = self.hosts[host].within
            return self._launcher.serve(program, kind=kind, within=within, **options)

        return Server(start, data=data, host=self.hosts[host].address, **options)

    @property
    def variables(self) -> dict[str, str]:
        """What every program needs to know."""
        database = self.postgres.program
        return {
            "FRESHLINE_BROKER_URL": self.broker.program.url,
            "DAGSTER_PG_HOST": database.host,
            "DAGSTER_PG_PORT": str(database.port),
            "DAGSTER_PG_USER": database.user,
            "DAGSTER_PG_PASSWORD": database.password,
            "DAGSTER_PG_DATABASE": database.database,
            "NAP_SECONDS": "30",
        }

    def _unit(
        self, host: str, name: str, program: str, *arguments: str, cwd: Path, **variables: str
    ) -> Unit:
        home = self.home(host)
        return Unit(
            self.hosts[host],
            [HOST_BIN / program, *arguments],
            cwd,
            {**os.environ, **self.variables, "DAGSTER_HOME": str(home), **variables},
            home / f"{name}.log",
        )

    def start(self) -> None:
        """Start all programs, and wait until they are ready."""
        self._keeper.start()
        for team, hosts in self.teams.items():
            self.write(team, "first")
            self.start_code_server(team)
            for host in hosts:
                self.start_workers(host)
        self.daemon.start()
        self.webserver.start()
        until(self.graphql.is_up, why=self.webserver.log)
        for team in self.teams:
            self.await_location(team)
        self.await_workers()

    def home(self, host: str) -> Path:
        """Return the DAGSTER_HOME of a host, where its logs are."""
        home = self.folder / "homes" / host
        if not home.exists():
            home.mkdir(parents=True)
            settings = instance_settings(_STORAGE)
            # The next fault may hit the retry.
            settings["run_retries"]["max_retries"] = 3
            (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
        return home

    def _write_workspace(self) -> Path:
        entries = [
            {
                "grpc_server": {
                    "host": self.hosts[hosts[0]].address,
                    "port": CODE_SERVER_PORT,
                    "location_name": team,
                }
            }
            for team, hosts in self.teams.items()
        ]
        file = self.folder / "workspace.yaml"
        file.write_text(yaml.safe_dump({"load_from": entries}))
        return file

    def _team_of(self, host: str) -> str:
        return next(team for team, hosts in self.teams.items() if host in hosts)

    def start_code_server(self, team: str, **variables: str) -> None:
        """Start the code server of a team on its first host."""
        host = self.teams[team][0]
        self.servers[team] = self._unit(
            host,
            f"{team}.server",
            *("dagster", "api", "grpc", "--host", self.hosts[host].address),
            *("--port", str(CODE_SERVER_PORT), "--location-name", team),
            *("--python-file", str(self.code(team))),
            *("--working-directory", str(self.code(team).parent)),
            cwd=self.code(team).parent,
            **variables,
        )
        self.servers[team].start()

    def start_workers(self, host: str, *options: str, **variables: str) -> None:
        """Start the workers of a host, beside those that are there."""
        team = self._team_of(host)
        self.workers[host] = self._unit(
            host,
            f"{team}.workers",
            *("freshline", "worker", team, "-f", str(self.code(team))),
            *("--places", "2", "--drain", "20", *options),
            cwd=self.code(team).parent,
            **variables,
        )
        self.workers[host].start()

    def await_workers(self, *hosts: str) -> None:
        """Wait until the workers of the hosts take runs."""
        for host in hosts or self.workers:
            until(lambda host=host: self.serving(host), why=self.worker_log)

    def serving(self, host: str) -> list[str]:
        """Return the names of the workers that take runs on a host now."""
        return [
            worker.name
            for worker in self.words.workers()
            if worker.name.endswith(f"@{host}") and not worker.leaving and worker.age < SILENT_AFTER
        ]

    def start_host(self, host: str, **variables: str) -> None:
        """Start what runs on a team's host, with `variables`, and wait until it is ready."""
        team = self._team_of(host)
        if host == self.teams[team][0]:
            self.start_code_server(team, **variables)
        self.start_workers(host, **variables)
        self.await_workers(host)
        self.await_location(team)

    def restart_host(self, host: str, **variables: str) -> None:
        """Replace what runs on a team's host."""
        team = self._team_of(host)
        self.workers[host].stop()
        if host == self.teams[team][0]:
            self.servers[team].kill()
        self.start_host(host, **variables)

    def await_location(self, team: str) -> None:
        """Wait until the code server of a team is there, and the webserver has loaded it."""
        address = self.hosts[self.teams[team][0]].address, CODE_SERVER_PORT

        def answers() -> bool:
            try:
                socket.create_connection(address, 2).close()
            except OSError:
                return False
            return True

        until(answers, why=self.servers[team].log)
        until(lambda: self.graphql.locations().get(team) == "LOADED", why=self.servers[team].log)

    def _keep_units(self) -> None:
        while not self._over.wait(2):
            for unit in self.units():
                unit.keep()

    def stop(self) -> None:
        """Kill all programs."""
        self._over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        (self.gates / "all").touch()
        for unit in self.units():
            unit.kill()

    def lose_power(self, host: str) -> None:
        """Kill everything on a host at once; nothing starts there by itself."""
        own = self.hosts[host]
        units = [unit for unit in self.units() if unit.host is own]
        for unit in units:
            unit.forget()
        own.lose_power()
        for unit in units:
            unit.wait()

    def units(self) -> list[Unit]:
        return [*self.servers.values(), *self.workers.values(), self.webserver, self.daemon]

    @property
    def worker_log(self) -> str:
        return "\n".join(unit.log for unit in self.workers.values())

    # --- code -----------------------------------------------------------------------------

    def code(self, team: str) -> Path:
        return self.folder / team / "definitions.py"

    def write(self, team: str, release: str) -> None:
        """Write the code of a team; its asset `quick` has the metadata `release`."""
        self.code(team).parent.mkdir(exist_ok=True)
        text = CODE.read_text().replace('RELEASE = "first"', f'RELEASE = "{release}"')
        text = text.replace("POLICIES = True", f"POLICIES = {self._policies}")
        self.code(team).write_text(text)

    # --- runs -----------------------------------------------------------------------------

    def submit(self, asset: str, location: str = "one") -> str:
        def launch() -> str | None:
            # The webserver answers with an error, before anything is made, as often as it has a
            # connection to a Postgres that was away, and until it sees that a code server is a new
            # one. A person would ask again, too.
            with suppress(httpx.HTTPStatusError, AssertionError):
                return self.graphql.launch(location, f"{location}/{asset}")
            return None

        run_id: str = until(launch, why=self.webserver.log[-3000:])
        return run_id

    def host_of(self, run_id: str) -> str:
        """Return the host on which a run is made."""
        process = self.process(run_id)
        return next(
            name
            for name, host in self.hosts.items()
            if process in processes_in_network_of(host.pid)
        )

    def family(self, run_id: str) -> list[psutil.Process]:
        """Return the process that makes a run, and all that it has started."""
        first = psutil.Process(self.process(run_id))
        return [first, *first.children(recursive=True)]

    def made_since(self, key: str, since: float) -> list[float]:
        """Return when an asset was made after a time (epoch seconds), the newest first."""
        asset = dg.AssetKey(key.split("/"))
        records = self.instance.fetch_materializations(asset, limit=1000).records
        return [record.timestamp for record in records if record.timestamp > since]

    def await_made(self, *keys: str) -> None:
        """Wait until assets have been made for the first time."""
        for key in keys:
            until(lambda key=key: self.made_since(key, 0), why=f"{key} was not made")

    def events(self, run_id: str) -> list[dg.DagsterEventType]:
        """Return the types of the run's events."""
        return [
            entry.dagster_event.event_type
            for entry in self.instance.all_logs(run_id)
            if entry.dagster_event
        ]


@contextmanager
def running_site(
    folder: Path,
    network: Network,
    launcher: Launcher,
    teams: Mapping[str, Sequence[str]] = TEAMS,
    policies: bool = True,
) -> Iterator[Site]:
    """Yield a site on which everything runs; all ends with the context."""
    data = launcher.new_folder("postgres")
    with small_disk(data, DATABASE_MEGABYTES), pytest.MonkeyPatch.context() as patch:
        site = Site(folder, network, launcher, data, teams, policies)
        for name, value in site.variables.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(site.home("desk"))) as site.instance:
            try:
                site.start()
                yield site
            finally:
                site.stop()


_STORAGE = {
    "telemetry": {"enabled": False},
    "storage": {
        "postgres": {
            "postgres_db": {
                "scheme": "postgresql+psycopg2",
                "hostname": {"env": "DAGSTER_PG_HOST"},
                "port": {"env": "DAGSTER_PG_PORT"},
                "username": {"env": "DAGSTER_PG_USER"},
                "password": {"env": "DAGSTER_PG_PASSWORD"},
                "db_name": {"env": "DAGSTER_PG_DATABASE"},
                "params": DATABASE_PARAMETERS,
            }
        }
    },
    "sensors": {"use_threads": True, "num_workers": 4},
    "schedules": {"use_threads": True, "num_workers": 2},
}
