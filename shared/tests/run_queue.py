"""An instance whose runs wait in Dagster's own queue, until the daemon's own code launches them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import dagster as dg
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

__all__ = ["enqueue", "launch", "queueing_instance"]


NEVER_BEGINNING: Final = {
    "module": "dagster._core.test_utils",
    "class": "MockedRunLauncher",
}
"""Launches runs, but not those in its `bad_user_code_run_ids`. None of them ever begins."""


@contextmanager
def queueing_instance(
    home: Path,
    launcher: Mapping[str, Any] = NEVER_BEGINNING,
    **concurrency: Mapping[str, Any],
) -> Iterator[dg.DagsterInstance]:
    """Yield an empty instance with a run queue, and the settings `concurrency` of dagster.yaml.

    If there is a dagster.yaml in `home`, its storage is used. What is launched never begins. A run
    that the `launcher` cannot launch goes back into the queue, and is tried again after 5 s.
    """
    file = home / "dagster.yaml"
    settings = yaml.safe_load(file.read_text()) if file.exists() else {}
    settings |= {
        "telemetry": {"enabled": False},
        "run_coordinator": {
            "module": "dagster._core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"max_user_code_failure_retries": 100, "user_code_failure_retry_delay": 5},
        },
        "run_launcher": dict(launcher),
        "concurrency": concurrency,
    }
    file.write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def enqueue(
    instance: dg.DagsterInstance,
    *assets: dg.AssetsDefinition,
    location: str = "here",
    **options: Any,
) -> dg.DagsterRun:
    """Put a run of the assets, which belong to a location, into the queue."""
    job = dg.Definitions(assets=list(assets)).resolve_implicit_global_asset_job_def()
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
    pointer = ModuleCodePointer(location, "defs", None)
    code = RepositoryPythonOrigin(sys.executable, pointer, None, None, None)
    run = instance.create_run_for_job(
        job,
        asset_selection={asset.key for asset in assets},
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=repository.get_job_origin(job.name),
        job_code_origin=JobPythonOrigin(job.name, code),
        **options,
    )
    instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
    return run


def launch(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Let the daemon look at the queue once. Return all runs that are launched."""
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        for _ in daemon.run_iteration(context):
            pass
    starting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])
    return list(instance.get_runs(starting))
