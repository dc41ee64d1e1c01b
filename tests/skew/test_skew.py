"""One chain over locations that have different versions of Dagster, of dbt and of Python.

Each team upgrades on its own day. So the host (Dagster's daemon) and the locations have different
versions for weeks: `docs/versions.md` says which may be mixed. Here two locations have the oldest
Dagster and dbt that freshline supports, one has the newest. The host has the oldest once, and once
that of this checkout. Everything else is real: code servers, workers, broker, Postgres, dbt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from devstack_fixtures import Broker, PostgresServer
from freshline.contract import read_contracts
from freshline.history.materialized import stated_data_time
from packaging.requirements import Requirement
from packaging.version import Version
from support.dagster import HOST_BIN, ROOT, free_port
from support.processes import Daemon, await_port
from support.versions import environment_with, other_python
from support.waiting import wait_until

WORKSPACE = Path(__file__).parent / "workspace"
PYPROJECT = tomllib.loads((ROOT / "shared" / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.13", "3.12", "3.11")
"""What dbt runs on."""
ASSETS = {"feed": "raw/events", "core": "mart/latest", "marts": "mart/report"}
"""What each location makes, in the order in which they read each other."""
PASSES = 2


def bounds(package: str) -> tuple[Version, Version]:
    """Return the oldest minor version of a package that freshline supports, and the newest."""
    texts = [*PYPROJECT["dependencies"], *PYPROJECT["optional-dependencies"]["dbt"]]
    (specifier,) = (it.specifier for it in map(Requirement, texts) if it.name == package)
    oldest, end = sorted(Version(bound.version) for bound in specifier)
    return Version(f"{oldest.major}.{oldest.minor}"), Version(f"{end.major}.{end.minor - 1}")


DAGSTER, DBT = bounds("dagster"), bounds("dbt-core")
OTHER_PYTHON = other_python(PYTHONS)


@dataclass(frozen=True)
class Environment:
    """The Python of a location or of the host, and what it must have."""

    python: Path
    dagster: Version
    dbt: Version

    def program(self, name: str) -> Path:
        return self.python.with_name(name)


@pytest.fixture(scope="module")
def oldest() -> Environment:
    """The oldest Dagster that freshline supports, the oldest minor version of dbt."""
    dagster, dbt = DAGSTER[0], DBT[0]
    python = environment_with(
        "oldest", f"dagster=={dagster}", *with_postgres(dbt), extras=["dbt", "engine"]
    )
    return Environment(python, dagster, dbt)


@pytest.fixture(scope="module")
def newest() -> Environment:
    """The newest of both, on another Python if one is installed."""
    dagster, dbt = DAGSTER[1], DBT[1]
    python = environment_with(
        "newest",
        f"dagster=={dagster}.*",
        *with_postgres(dbt),
        extras=["dbt", "engine"],
        python=OTHER_PYTHON,
    )
    return Environment(python, dagster, dbt)


def with_postgres(dbt: Version) -> list[str]:
    return [f"dbt-core=={dbt}.*", "dbt-postgres", "dagster-postgres"]


# --- the chain ----------------------------------------------------------------------------


class Stage:
    """The three locations and the host, each with its processes; all end with `close`."""

    def __init__(self, folder: Path, settings: Mapping[str, str], host: Path) -> None:
        self.folder = folder
        self.host = host
        self._settings = {**settings, "DAGSTER_HOME": str(folder)}
        self._stack = ExitStack()
        shutil.copytree(WORKSPACE, folder, dirs_exist_ok=True)
        shutil.copy(ROOT / "dagster.yaml", folder)

    def close(self) -> None:
        """Kill all processes, those that were started last first."""
        self._stack.close()

    def start(self, name: str, *command: str | Path) -> Daemon:
        daemon = Daemon(
            command, cwd=self.folder, env=self._settings, log=self.folder / f"{name}.log"
        )
        self._stack.callback(daemon.kill)
        return daemon

    def run(self, *command: str | Path) -> str:
        """Run a program that must succeed; return what it prints."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def prepare(self, environments: Mapping[str, Environment]) -> None:
        """Write both workspace files, the contracts and what dbt needs to load."""
        for location in ("core", "marts"):
            shutil.copy(WORKSPACE / "models_location.py", self._file(location))
            python = environments[location].python
            self.run(python, "-m", "freshline.dbt.prepare", self.folder / location)
        code = [
            {
                "python_file": {
                    "relative_path": f"{location}/definitions.py",
                    "working_directory": ".",
                    "location_name": location,
                    "executable_path": str(environment.python),
                }
            }
            for location, environment in environments.items()
        ]
        (self.folder / "code.yaml").write_text(yaml.safe_dump({"load_from": code}))
        self.run(HOST_BIN / "freshline", "contract", "write", "-w", "code.yaml")

    def serve(self, environments: Mapping[str, Environment]) -> None:
        """Start a code server and workers for each location, and then the host."""
        self.run(self.host / "dagster", "instance", "migrate")
        entries, waiting = [], []
        for location, environment in environments.items():
            port = free_port()
            entries.append(
                {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": location}}
            )
            server = self._start_server(location, environment, port)
            waiting.append((server, port, self._start_worker(location, environment), location))
        (self.folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": entries}))
        for server, port, worker, location in waiting:
            await_port(server, port, seconds=180)
            await_line(worker, f"{location}: takes runs", seconds=180)
        self.start("daemon", self.host / "dagster-daemon", "run", "-w", "workspace.yaml")

    def _start_server(self, location: str, environment: Environment, port: int) -> Daemon:
        code = ["--working-directory", self.folder, "--python-file", self._file(location)]
        place = ["--host", "127.0.0.1", "--port", str(port), "--location-name", location]
        program = [environment.python, "-m", "dagster", "api", "grpc"]
        return self.start(f"{location}.server", *program, *place, *code)

    def _start_worker(self, location: str, environment: Environment) -> Daemon:
        code = ["-d", self.folder, "-f", self._file(location)]
        program = [environment.program("freshline"), "worker", location]
        return self.start(f"{location}.worker", *program, *code)

    def _file(self, location: str) -> Path:
        return self.folder / location / "definitions.py"

    def logs(self) -> str:
        """Return the end of what each process has printed."""
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            for log in sorted(self.folder.glob("*.log"))
        )


def await_line(daemon: Daemon, words: str, *, seconds: float) -> None:
    """Wait until `words` are in the output of `daemon`; fail with the output if it ends first."""

    def is_there() -> bool:
        assert daemon.is_running(), daemon.output()
        return words in daemon.output()

    wait_until(is_there, f"{words!r} in {daemon.log.name}", seconds=seconds)


@dataclass(frozen=True)
class Made:
    """A materialization: its data time, and what its run said of itself."""

    data_time: float | None
    by: Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """What the instance has after the chain was made `PASSES` times."""

    environments: Mapping[str, Environment]
    contracts: set[str]
    made: Mapping[str, list[Made]]
    """By location, oldest first."""
    failed_runs: list[str]
    failed_ticks: list[str]
    ticks: int
    gate: str


@pytest.fixture(scope="module", params=["newest", "oldest"], ids=lambda it: f"host-{it}")
def story(
    request: pytest.FixtureRequest,
    oldest: Environment,
    newest: Environment,
    postgres_server: PostgresServer,
    broker_server: Callable[..., Broker],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    host = HOST_BIN if request.param == "newest" else oldest.python.parent
    environments = {"feed": oldest, "core": oldest, "marts": newest}
    with (
        postgres_server.new_database() as instance,
        postgres_server.new_database() as warehouse,
        pytest.MonkeyPatch.context() as patch,
    ):
        settings = {
            **instance.environ("DAGSTER_PG"),
            **warehouse.environ("WAREHOUSE"),
            "FRESHLINE_BROKER_URL": broker_server().url,
        }
        for name, value in settings.items():
            patch.setenv(name, value)  # for this process, which reads the same dagster.yaml
        folder = tmp_path_factory.mktemp(f"host-{request.param}")
        stage = Stage(folder, {**os.environ, **settings}, host)
        try:
            stage.prepare(environments)
            stage.serve(environments)
            with dg.DagsterInstance.from_config(str(folder)) as found:
                await_passes(found, stage)
                yield tell(found, stage, environments)
        finally:
            stage.close()


def await_passes(instance: dg.DagsterInstance, stage: Stage) -> None:
    """Wait until the last asset was made `PASSES` times."""
    report = dg.AssetKey(ASSETS["marts"].split("/"))

    def is_made() -> bool:
        records = instance.fetch_materializations(report, limit=PASSES).records
        return len(records) == PASSES

    try:
        wait_until(is_made, f"{PASSES} times {report.to_user_string()}", seconds=480, every=1)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{failures(instance)}\n{stage.logs()}") from error


def tell(
    instance: dg.DagsterInstance, stage: Stage, environments: Mapping[str, Environment]
) -> Story:
    """Return what has happened so far."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    ticks = [
        tick
        for state in states
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)
    ]
    return Story(
        environments=environments,
        contracts=set(read_contracts(instance)),
        made={location: read_made(instance, key) for location, key in ASSETS.items()},
        failed_runs=failures(instance),
        failed_ticks=[str(tick.error) for tick in ticks if tick.status is TickStatus.FAILURE],
        ticks=len(ticks),
        gate=stage.run(HOST_BIN / "freshline", "check", "-w", "code.yaml"),
    )


def read_made(instance: dg.DagsterInstance, key: str) -> list[Made]:
    records = instance.fetch_materializations(dg.AssetKey(key.split("/")), limit=100).records
    found = []
    for record in reversed(records):
        event = record.asset_materialization
        assert event is not None
        found.append(Made(stated_data_time(event.metadata), said_by(instance, record.run_id)))
    return found


def said_by(instance: dg.DagsterInstance, run_id: str) -> Mapping[str, Any]:
    """Return what a run has said of itself."""
    for entry in instance.all_logs(run_id):
        _, marker, text = entry.user_message.partition("made by ")
        if marker:
            found: Mapping[str, Any] = json.loads(text)
            return found
    return {}


def failures(instance: dg.DagsterInstance) -> list[str]:
    """Return what runs that did not succeed have said at last."""
    failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    return [
        "\n".join(
            str(entry.dagster_event or entry.user_message)
            for entry in instance.all_logs(run.run_id)[-8:]
        )
        for run in failed
    ]


# --- what is to be so -----------------------------------------------------------------------


def test_no_run_and_no_tick_fails(story: Story) -> None:
    assert [] == story.failed_runs
    assert [] == story.failed_ticks
    assert story.ticks > len(ASSETS)


def test_the_contracts_of_all_locations_are_published_and_fit(story: Story) -> None:
    assert set(ASSETS) == story.contracts
    assert "No findings (3 locations, 3 assets, 2 imports).\n" == story.gate


@pytest.mark.parametrize("location", ASSETS)
def test_runs_are_forks_of_warm_workers_with_the_versions_of_their_location(
    story: Story, location: str
) -> None:
    environment = story.environments[location]

    for made in story.made[location]:
        assert "freshline.engine.worker" in made.by["words"]
        assert environment.dagster.release == Version(made.by["dagster"]).release[:2]
        assert environment.dbt.release == Version(made.by["dbt"]).release[:2]


def test_the_versions_differ(story: Story) -> None:
    versions = {
        name: {Version(made.by[name]).release[:2] for of in story.made.values() for made in of}
        for name in ("dagster", "dbt")
    }

    assert {bound.release for bound in DAGSTER} == versions["dagster"]
    assert {bound.release for bound in DBT} == versions["dbt"]


@pytest.mark.skipif(OTHER_PYTHON is None, reason=f"only Python {sys.version[:4]} is installed")
def test_a_location_has_another_python(story: Story) -> None:
    pythons = {made.by["python"].rpartition(".")[0] for of in story.made.values() for made in of}

    assert 2 == len(pythons)


def test_each_version_of_the_mart_has_newer_data_of_the_first_location(story: Story) -> None:
    times = [made.data_time or 0.0 for made in story.made["marts"]]
    events = [made.data_time or 0.0 for made in story.made["feed"]]

    assert len(times) >= PASSES
    assert sorted(set(times)) == times
    for time in times:
        assert time == pytest.approx(min(events, key=lambda at: abs(at - time)), abs=0.001)
