"""A working day of three locations: their sensors tick and their runs are made, on one clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._daemon.types import DaemonHeartbeat
from freshline.policy import max_lag
from scenes import clock, time_of
from ticking import Workspace

__all__ = ["JOIN", "STARGAZER", "SYNC", "WorkingDay", "day_of_a_command", "working_day"]

SYNC = "postgres/stargazers"
STARGAZER = "mart/mart_gh_stargazer"
JOIN = "mart/mart_gh_join"

_TICK = 5.0


class WorkingDay:
    """Ingestion, core and marts on the instance of the folder `home`, from noon on.

    The join may be ten minutes behind. A run takes as long as its asset, and nothing else does.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.started = self.now = clock("10 12:00")
        self.is_closed = False
        """Whether the source of the sync is: then it fails."""
        self._workspace = Workspace(instance)
        self._created: list[tuple[dg.JobDefinition, dg.DagsterRun]] = []
        with self.stopped():
            self._load("ingestion", self._asset(SYNC, 52.0))
            self._load("analytics_core", self._asset(STARGAZER, 11.0, SYNC))
            join = self._asset(JOIN, 10.0, STARGAZER, metadata=max_lag(10), owners=["team:marts"])
            self._load("analytics_marts", join)

    def _load(self, location: str, asset: dg.AssetsDefinition) -> None:
        # Other processes would have another clock.
        self._workspace.load(location, asset, executor=dg.in_process_executor)

    def _asset(self, key: str, seconds: float, *deps: str, **options: Any) -> dg.AssetsDefinition:
        @dg.asset(key=key.split("/"), deps=[dep.split("/") for dep in deps], **options)
        def made() -> None:
            if key == SYNC and self.is_closed:
                self.now += 2.0
                raise RuntimeError("the source is closed")
            self.now += seconds

        return made

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it be the time of the day, for Dagster and for freshline."""
        with time_of(lambda: self.now):
            yield

    # --- what happens -------------------------------------------------------------------------

    def until(self, time: str, *, without: str = "") -> WorkingDay:
        """Tick every five seconds and make all runs, until a time such as "12:05:20".

        The sensor of the location `without` does not tick.
        """
        end = clock(f"10 {time}")
        while self.now < end:
            self.tick(without=without)
            self.make_runs()
            # A run lets time pass; ticks stay five seconds apart.
            following = (math.floor(self.now / _TICK) + 1) * _TICK
            self.now = min(end, following)
        return self

    def until_requested(self) -> WorkingDay:
        """Tick until a run is created, and do not make it."""
        while not self._created:
            assert self.now < clock("10 23:00"), "nothing is requested all day long"
            self.now = (math.floor(self.now / _TICK) + 1) * _TICK
            self.tick()
        return self

    def tick(self, *, without: str = "") -> WorkingDay:
        """Let the daemon and the sensors tick once, and create the runs that they request."""
        with self.stopped():
            self.instance.add_daemon_heartbeat(DaemonHeartbeat(self.now, "SENSOR", "daemon"))
            for location in self._workspace.locations:
                if location != without:
                    self._tick(location)
        return self

    def message(self, location: str) -> str:
        """Return what a tick says in which the location's sensor requests nothing."""
        with self.stopped():
            reason = self._workspace.tick(location).skip_reason
        return str(reason.skip_message) if reason else ""

    def make_runs(self) -> None:
        """Make the runs that were created, one after the other."""
        with self.stopped():
            while self._created:
                job, run = self._created.pop(0)
                execute_run(InMemoryJob(job), run, self.instance, raise_on_error=False)

    def sleep_until(self, time: str) -> WorkingDay:
        """Let time pass while nothing ticks."""
        self.now = clock(f"10 {time}")
        return self

    def _tick(self, location: str) -> None:
        for request in self._workspace.tick(location).run_requests or ():
            if request.run_key in self._workspace.run_keys:
                continue
            self._workspace.run_keys.add(request.run_key)
            selection = set(request.asset_selection or ())
            job = self._workspace.job(location).get_subset(
                asset_selection=selection,
                asset_check_selection=set(request.asset_check_keys or ()),
            )
            repository = RemoteRepositoryOrigin(
                RegisteredCodeLocationOrigin(location), "__repository__"
            )
            run = self.instance.create_run_for_job(
                job,
                asset_selection=selection,
                tags=request.tags,
                remote_job_origin=repository.get_job_origin(job.name),
            )
            self._created.append((job, run))


@contextmanager
def working_day(home: Path) -> Iterator[WorkingDay]:
    """Yield a day on a new instance, which is in the folder `home`."""
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield WorkingDay(instance)


@contextmanager
def day_of_a_command(home: Path) -> Iterator[WorkingDay]:
    """Yield a day on a new instance in the folder `home`, which commands of freshline find."""
    with pytest.MonkeyPatch.context() as patch, working_day(home) as day:
        patch.chdir(home)
        patch.setenv("DAGSTER_HOME", str(home))
        yield day
