"""Workspaces whose runs are made by workers: broker, Postgres, daemon, workers.

`Runs` asks what becomes of runs, wherever the programs are. `Teams` is a workspace of two teams on
this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

__all__ = [
    "Runs",
    "Server",
    "Teams",
    "await_end",
    "create_run",
    "instance_settings",
    "running_teams",
    "until",
]

BIN = Path(sys.executable).parent
Status = dg.DagsterRunStatus
ENDED = (Status.SUCCESS, Status.FAILURE, Status.CANCELED)

CODE = '''
import multiprocessing, os, subprocess, time
from multiprocessing import resource_tracker
from pathlib import Path
import dagster as dg

resource_tracker.ensure_running()  # in the worker, as dbt has it

LOCATION = Path(__file__).stem
GATES = Path(__file__).parent / "gates"

def wait_for_gate(context):
    """Wait until the test opens this run's gate."""
    while not (GATES / context.run_id).exists() and not (GATES / "all").exists():
        time.sleep(0.05)

@dg.asset(key_prefix=LOCATION)
def quick(context):
    context.add_output_metadata({"text": "TEXT", "parent": os.getppid()})

@dg.asset(key_prefix=LOCATION)
def patient(context):
    wait_for_gate(context)

@dg.asset(key_prefix=LOCATION)
def starter(context):
    """Start a program, as a sync or dbt would be."""
    subprocess.run(["sleep", "4321"], check=True)

@dg.asset(key_prefix=LOCATION)
def locker(context):
    """Make a lock that has a name in /dev/shm, as dbt does."""
    global LOCK
    LOCK = multiprocessing.get_context("spawn").RLock()
    context.add_output_metadata({"lock": LOCK._semlock.name})

defs = dg.Definitions([quick, patient, starter, locker], executor=dg.in_process_executor)
'''


def until(condition: Callable[[], Any], seconds: float = 90.0, why: str = "") -> Any:
    """Wait until `condition()` is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, why or "it did not happen"
        time.sleep(0.1)
    return found


def await_end(processes: Sequence[psutil.Process], seconds: float, why: str = "") -> None:
    """Wait until the processes have ended, whether or not anybody has asked how."""

    def has_ended(process: psutil.Process) -> bool:
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until(lambda: all(map(has_ended, processes)), seconds, f"{processes} did not end\n{why}")


class Server:
    """A server of devstack that can be killed, and comes back with what it had.

    `start` is a fixture of devstack; `options` are given to it each time.
    """

    def __init__(self, start: Callable[..., Any], **options: Any) -> None:
        self._start = start
        self._options = options
        self.program = start(**options)
        self._options["port"] = self.program.port

    def kill(self) -> None:
        """Kill the server and what it has started, as a crash of its machine would."""
        for process in psutil.Process(self.program.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.program.kill()

    def start(self) -> None:
        self.program = self._start(**self._options)


class Runs(ABC):
    """The runs of a workspace, as its event log tells of them."""

    instance: dg.DagsterInstance
    gates: Path
    """The folder in which an asset `patient` looks for the gate of its run."""

    @abstractmethod
    def submit(self, asset: str, location: str = "one") -> str:
        """Put a run of `asset` into Dagster's queue, as the UI does. Return its id."""

    @property
    @abstractmethod
    def worker_log(self) -> str:
        """What the workers have said so far: the reason why something did not happen."""

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run.status

    def wait(self, run_id: str, *statuses: dg.DagsterRunStatus) -> dg.DagsterRunStatus:
        """Wait until the run has one of `statuses`, or else has ended."""
        wanted = statuses or ENDED
        until(
            lambda: self.status(run_id) in {*wanted, *ENDED},
            why=f"the run did not become {wanted}:\n{self.messages(run_id)}\n{self.worker_log}",
        )
        return self.status(run_id)

    def await_message(self, run_id: str, text: str) -> None:
        """Wait until the event log has `text` of the run."""
        try:
            until(lambda: text in self.messages(run_id))
        except AssertionError:
            told = f"{self.status(run_id)}:\n{self.messages(run_id)}\n{self.worker_log}"
            raise AssertionError(f"nothing says {text!r} of the run, which is {told}") from None

    def begin(self, asset: str, location: str = "one") -> tuple[str, int]:
        """Submit a run and wait until its step runs. Return its id and its process."""
        run_id = self.submit(asset, location)
        self.await_message(run_id, "Started execution of step")
        return run_id, self.process(run_id)

    def process(self, run_id: str) -> int:
        """Return the process that makes the run, which it has named in the event log."""
        found = re.search(r"Started process for run \(pid: (\d+)\)", self.messages(run_id))
        assert found
        return int(found[1])

    def open_gate(self, run_id: str) -> None:
        """Let the asset `patient` of a run go on."""
        (self.gates / run_id).touch()

    def messages(self, run_id: str) -> str:
        """Return all that the event log has of a run."""
        events = self.instance.all_logs(run_id)
        texts = [entry.user_message for entry in events]
        for entry in events:
            event = entry.dagster_event
            if event is not None:
                texts.append(str(event.message))
                if event.is_engine_event and event.engine_event_data.error:
                    texts.append(event.engine_event_data.error.to_string())
        return "\n".join(texts)

    def made(self, run_id: str, name: str) -> Any:
        """Return the metadata `name` of what the run has materialized."""
        (event,) = [
            entry.asset_materialization
            for entry in self.instance.all_logs(run_id)
            if entry.asset_materialization
        ]
        return event.metadata[name].value

    def retry_of(self, run_id: str) -> dg.DagsterRun | None:
        """Return the run in which Dagster tries `run_id` again, if there is one by now."""
        found = self.instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run_id}))
        assert len(found) <= 1
        return found[0] if found else None


class Teams(Runs):
    """Two code locations, `one` and `two`, and what runs them."""

    daemon: subprocess.Popen[bytes]

    def __init__(self, folder: Path, broker_url: str, code: str = CODE) -> None:
        self.folder = folder
        self._code = code
        self.broker_url = broker_url
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._programs: list[subprocess.Popen[bytes]] = []
        self.gates = folder / "gates"
        self.gates.mkdir()
        for location in ("one", "two"):
            self.write(location, "first")
        loaded = [
            {"python_file": {"relative_path": f"{name}.py", "location_name": name}}
            for name in ("one", "two")
        ]
        (folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": loaded}))
        self.context: WorkspaceProcessContext

    # --- programs -------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DAGSTER_HOME": str(self.folder),
            "FRESHLINE_BROKER_URL": self.broker_url,
        }

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{program}.log").open("ab")
        started = subprocess.Popen(
            [BIN / program, *arguments, "-w", "workspace.yaml"],
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._programs.append(started)
        return started

    def start_daemon(self) -> None:
        self.daemon = self.start("dagster-daemon", "run")

    def start_worker(self, location: str, *options: str) -> None:
        """Start the workers of `location`, and wait until they take runs."""
        said = self.worker_log.count(f"{location}: takes runs")
        self.workers[location] = self.start("freshline", "worker", location, *options)
        until(lambda: self.worker_log.count(f"{location}: takes runs") > said, why=self.worker_log)

    def stop_worker(self, location: str) -> None:
        """Tell the workers of `location` to end, and wait until they have."""
        worker = self.workers.pop(location)
        worker.terminate()
        assert 0 == worker.wait(60)

    def stop(self) -> None:
        (self.gates / "all").touch()
        for program in self._programs:
            family = psutil.Process(program.pid).children(recursive=True) if _runs(program) else []
            program.terminate()
            try:
                program.wait(30)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
            for process in family:
                if process.is_running():
                    process.kill()

    @property
    def worker_log(self) -> str:
        log = self.folder / "freshline.log"
        return log.read_text() if log.exists() else ""

    # --- code -----------------------------------------------------------------------------

    def write(self, location: str, text: str) -> None:
        """Write the code of `location`; its asset `quick` has the metadata `text`."""
        self.write_code(location, self._code.replace("TEXT", text))

    def write_code(self, location: str, code: str) -> None:
        (self.folder / f"{location}.py").write_text(code)

    # --- runs -----------------------------------------------------------------------------

    def submit(self, asset: str, location: str = "one") -> str:
        key = dg.AssetKey([location, asset])
        run_id = create_run(self.instance, self.context, location, key)
        self.instance.submit_run(run_id, self.context.create_request_context())
        return run_id

    def put_back(self, run_id: str) -> None:
        """Write that a run waits again, as the daemon does without a look at what is new."""
        run = self.instance.get_run_by_id(run_id)
        assert run
        self.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id)


def create_run(
    instance: dg.DagsterInstance, context: WorkspaceProcessContext, location: str, key: dg.AssetKey
) -> str:
    """Create a run of an asset, as the UI does before it puts it into the queue. Return its id."""
    request = context.create_request_context()
    found = request.get_code_location(location)
    selector = JobSubsetSelector(
        location_name=location,
        repository_name="__repository__",
        job_name="__ASSET_JOB",
        op_selection=None,
        asset_selection=[key],
    )
    job = found.get_job(selector)
    plan = found.get_execution_plan(job, {}, step_keys_to_execute=None, known_state=None)
    run = instance.create_run(
        job_name=job.name,
        run_id=None,
        run_config={},
        resolved_op_selection=None,
        step_keys_to_execute=None,
        status=Status.NOT_STARTED,
        tags={},
        root_run_id=None,
        parent_run_id=None,
        job_snapshot=job.job_snapshot,
        execution_plan_snapshot=plan.execution_plan_snapshot,
        parent_job_snapshot=job.parent_job_snapshot,
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
        asset_selection=frozenset({key}),
        asset_check_selection=None,
        op_selection=None,
        asset_graph=request.asset_graph,
    )
    return run.run_id


def instance_settings(storage: Mapping[str, Any], *, dequeue_interval: int = 1) -> dict[str, Any]:
    """Return what dagster.yaml has: `storage`, and the engine with short intervals (seconds)."""
    return {
        **storage,
        "run_launcher": {
            "module": "freshline.engine.launcher",
            "class": "WarmRunLauncher",
            "config": {"broker": {"env": "FRESHLINE_BROKER_URL"}},
        },
        "run_coordinator": {
            "module": "freshline.engine.coordinator",
            "class": "WarmRunCoordinator",
            "config": {
                "dequeue_interval_seconds": dequeue_interval,
                "max_user_code_failure_retries": 100_000,
                "user_code_failure_retry_delay": 2,
            },
        },
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 60,
            "poll_interval_seconds": 3,
        },
        "code_servers": {"wait_for_local_processes_on_shutdown": True},
        "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
    }


@contextmanager
def running_teams(
    folder: Path,
    broker_url: str,
    storage: Mapping[str, Any],
    code: str = CODE,
    *,
    dequeue_interval: int = 1,
) -> Iterator[Teams]:
    """Yield teams with a daemon and a worker for each of them; all ends with the context.

    Both locations have `code`.
    """
    settings = instance_settings(storage, dequeue_interval=dequeue_interval)
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
    teams = Teams(folder, broker_url, code)
    before = os.environ.get("FRESHLINE_BROKER_URL")
    os.environ["FRESHLINE_BROKER_URL"] = broker_url
    here = Path.cwd()
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            os.chdir(folder)  # a code server finds files from where it was started
            target = WorkspaceFileTarget(["workspace.yaml"])
            with WorkspaceProcessContext(instance, target) as context:
                os.chdir(here)
                teams.instance, teams.context = instance, context
                teams.start_daemon()
                for location in ("one", "two"):
                    teams.start_worker(location)
                yield teams
    finally:
        os.chdir(here)
        teams.stop()
        if before is None:
            os.environ.pop("FRESHLINE_BROKER_URL")
        else:
            os.environ["FRESHLINE_BROKER_URL"] = before


def _runs(program: subprocess.Popen[bytes]) -> bool:
    return program.poll() is None
