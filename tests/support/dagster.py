"""A running Dagster with several code locations, and its GraphQL API."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from projects import read_locations

from support.processes import Daemon, await_port
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
HOST_BIN = ROOT / ".venv" / "bin"
LOCATIONS = read_locations(ROOT)
"""The code locations of this workspace, which have folders of the same names."""


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class GraphQL:
    """The API of a webserver."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        )
        answer.raise_for_status()
        body = answer.json()
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/server_info", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def locations(self) -> dict[str, str]:
        """Return the load status of each code location, or the error that it failed with."""
        query = """{ workspaceOrError { ... on Workspace { locationEntries {
            name loadStatus locationOrLoadError {
              __typename ... on PythonError { message } } } } } }"""
        entries = self.ask(query)["workspaceOrError"]["locationEntries"]
        return {
            entry["name"]: (entry["locationOrLoadError"] or {}).get("message", entry["loadStatus"])
            for entry in entries
        }

    def assets(self) -> dict[str, dict[str, Any]]:
        """Return every node of the global lineage by its key, `layer/name`."""
        query = """{ assetNodes {
            assetKey { path } isExecutable
            repository { location { name } } dependencyKeys { path }
            isAutoCreatedStub } }"""
        nodes = self.ask(query)["assetNodes"]
        return {"/".join(node["assetKey"]["path"]): node for node in nodes}

    def reload(self, location: str) -> None:
        query = """mutation($name: String!) {
            reloadRepositoryLocation(repositoryLocationName: $name) {
            __typename ... on PythonError { message }
            ... on WorkspaceLocationEntry { loadStatus locationOrLoadError {
              __typename ... on PythonError { message } } } } }"""
        answer = self.ask(query, name=location)["reloadRepositoryLocation"]
        assert answer["__typename"] == "WorkspaceLocationEntry", answer
        assert answer["locationOrLoadError"]["__typename"] != "PythonError", answer

    def launch(self, location: str, *keys: str) -> str:
        """Materialize assets of one location by hand; return the run's id."""
        query = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
            __typename ... on LaunchRunSuccess { run { runId } }
            ... on PythonError { message } } }"""
        selector = {
            "repositoryLocationName": location,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": key.split("/")} for key in keys],
        }
        params = {"selector": selector, "mode": "default"}
        answer = self.ask(query, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id

    def run(self, run_id: str) -> dict[str, Any]:
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { runId status } } }"
        run: dict[str, Any] = self.ask(query, id=run_id)["runOrError"]
        return run

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Return the runs, newest first; at most 500."""
        query = """query($filter: RunsFilter) { runsOrError(filter: $filter, limit: 500) {
            ... on Runs { results { runId status creationTime startTime endTime
              tags { key value } assetSelection { path } } } } }"""
        runs: list[dict[str, Any]] = self.ask(query, filter=filters)["runsOrError"]["results"]
        return runs


@dataclass(frozen=True)
class CodeLocation:
    """A code location that the test serves."""

    name: str
    python: Path
    file: Path
    port: int

    def serve(self, *, cwd: Path, env: Mapping[str, str]) -> Daemon:
        command = [self.python, "-m", "dagster", "code-server", "start", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--python-file", self.file]
        command += ["--working-directory", self.file.parent, "--location-name", self.name]
        return Daemon(command, cwd=cwd, env=env, log=cwd / f"{self.name}.log")

    def work(self, *, cwd: Path, env: Mapping[str, str]) -> Daemon:
        """Start the workers that make its runs."""
        command = [self.python.with_name("freshline"), "worker", self.name, "-f", self.file]
        return Daemon(command, cwd=cwd, env=env, log=cwd / f"{self.name}.workers.log")


class Dagster:
    """The webserver, the daemon, and a code server and workers for each location.

    `env` names the broker.
    """

    def __init__(
        self, locations: Sequence[CodeLocation], *, home: Path, env: Mapping[str, str]
    ) -> None:
        self._home = home
        self._env = {**env, "DAGSTER_HOME": str(home)}
        self._workspace = home / "workspace.yaml"
        entries = [
            {"grpc_server": {"host": "127.0.0.1", "port": item.port, "location_name": item.name}}
            for item in locations
        ]
        self._workspace.write_text(yaml.safe_dump({"load_from": entries}))
        self.locations = {item.name: item for item in locations}
        self._teams: dict[str, list[Daemon]] = {}
        """The code server and the workers of each location."""
        self._host: list[Daemon] = []
        self.graphql = GraphQL("")

    def start(self) -> None:
        for name in self.locations:
            self.start_location(name)
        for name in self.locations:
            self._await_server(name)
        port = free_port()
        self.graphql = GraphQL(f"http://127.0.0.1:{port}")
        server = ["-w", self._workspace, "-h", "127.0.0.1", "-p", str(port)]
        self._run("webserver", HOST_BIN / "dagster-webserver", *server)
        self._run("daemon", HOST_BIN / "dagster-daemon", "run", "-w", self._workspace)
        wait_until(self.graphql.is_up, "the webserver answers", seconds=120)
        loaded = self.graphql.locations()
        assert set(loaded.values()) == {"LOADED"}, loaded

    def start_location(self, name: str) -> None:
        location = self.locations[name]
        self._teams[name] = [
            start(cwd=self._home, env=self._env) for start in (location.serve, location.work)
        ]

    def stop_location(self, name: str) -> None:
        """Kill the code server and the workers of a location, as a crash of its host would."""
        for daemon in self._teams.pop(name):
            daemon.kill()

    def _await_server(self, name: str) -> None:
        await_port(self._teams[name][0], self.locations[name].port, seconds=120)

    def stop_webserver(self) -> None:
        """Kill the webserver, which freshness does not need."""
        self._host[0].kill()

    def stop(self) -> None:
        for daemon in self._host:
            daemon.kill()
        for name in list(self._teams):
            self.stop_location(name)

    def _run(self, name: str, *command: str | Path) -> None:
        log = self._home / f"{name}.log"
        self._host.append(Daemon(command, cwd=self._home, env=self._env, log=log))
