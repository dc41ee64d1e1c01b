"""Dagster's run launcher: puts each run into the queue of its code location.

It is dagster-celery's launcher, made safe where that one loses runs: a run that nobody could take
stays in Dagster's own queue, one whose worker is gone fails and is tried again, and one that is
terminated ends as CANCELED.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin
from dagster._core.storage.tags import PRIORITY_TAG
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster_celery.launcher import CeleryRunLauncher
from kombu.exceptions import KombuError

from freshline.connections import keep_connections
from freshline.engine.broker import SILENT_AFTER, Broker, BrokerError, Worker, serving
from freshline.engine.queues import TASK, queue_of, queue_settings
from freshline.engine.waiting import WaitingRun, WaitingRuns
from freshline.words import clock, span

__all__ = ["WarmRunLauncher"]

_ONLY_HERE: Final = (
    "Nothing says {} of run {}, so that no worker can be chosen for it. Launch it from the UI, a "
    "sensor or a schedule, or execute it in its own process."
)

_UNFINISHED: Final = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


class WarmRunLauncher(CeleryRunLauncher):
    """Launches runs by workers that ``freshline worker`` starts.

    In ``dagster.yaml``, beside `freshline.engine.coordinator.WarmRunCoordinator`::

        run_launcher:
          module: freshline.engine.launcher
          class: WarmRunLauncher
          config:
            broker: { env: FRESHLINE_BROKER_URL }
    """

    def __init__(self, broker: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(
            default_queue="dagster",
            broker=broker,
            config_source=queue_settings(),
            inst_data=inst_data,
        )
        self._broker = Broker(broker)
        self._waiting = WaitingRuns(self._broker, self.celery)
        self._answers_since: float | None = None
        """Since when the broker has answered each time (monotonic seconds); None: it did not."""
        self._missed_since: dict[str, float] = {}
        """Since when a run in progress has said nothing (monotonic seconds), by run id."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the fields in ``dagster.yaml``."""
        return {
            "broker": dg.Field(
                dg.StringSource,
                description="The Valkey or Redis server: redis://:PASSWORD@HOST:PORT/0",
            )
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> WarmRunLauncher:
        """Return a launcher with what ``dagster.yaml`` says."""
        return cls(inst_data=inst_data, **config_value)

    def settle_daemon(self) -> None:
        """Make this process's daemon quick, and patient with retries. `WarmRunCoordinator` calls it
        once, before the daemon begins."""
        # No other process needs what these import.
        from freshline.engine.retrying import keep_retrying
        from freshline.engine.waking import wake_sensors

        keep_connections(self._instance)
        wake_sensors(self._broker)
        keep_retrying()

    # --- launching ------------------------------------------------------------------------

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put the run into the queue of its location.

        Raises `DagsterUserCodeUnreachableError` while the broker does not answer, or no worker
        of the location has a place: the daemon puts the run back into its queue then, and other
        locations' runs pass it (`run_coordinator`, `max_user_code_failure_retries`).
        """
        run = context.dagster_run
        if self._was_canceled(run):
            # No process has it, so that nobody else would say so.
            self._instance.report_run_canceled(run)
        else:
            self._put_into_queue(run)

    def _was_canceled(self, run: dg.DagsterRun) -> bool:
        """Return whether somebody has canceled the run, whatever its status is now.

        The daemon writes that a run starts, or waits again, over what was written since it last
        looked (https://github.com/dagster-io/dagster/issues/3323).
        """
        canceling = dg.DagsterEventType.RUN_CANCELING
        found = self._instance.get_records_for_run(run.run_id, of_type=canceling, limit=1)
        return bool(found.records)

    def _put_into_queue(self, run: dg.DagsterRun) -> None:
        location, code = _location_of(run), _code_of(run)
        queue = self._queue_with_place(location, code.repository_origin.container_image)
        arguments = ExecuteRunArgs(
            job_origin=code,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        )
        try:
            self.celery.send_task(
                TASK,
                args=[serialize_value(arguments)],
                task_id=run.run_id,
                queue=queue,
                priority=_priority(run),
                retry=False,
            )
        except (KombuError, BrokerError, OSError) as error:
            raise self._unreachable(f"The broker took no run: {error}") from error
        self._waiting.add(WaitingRun(self._instance, run.run_id, location, queue))
        self._instance.report_engine_event(
            f"The run waits for a worker of {location}.", run, cls=type(self)
        )

    def _queue_with_place(self, location: str, image: str | None) -> str:
        """Return the queue from which a worker of `location` can take one more run at once.

        That is the queue of the workers in `image`. If there are none any more, because another
        image was deployed since the run was created, it is that of the image that is served now.

        Raises if no worker has a place. What waited in a queue of Celery could not be overtaken any
        more, and Dagster would take it for a run that does not start. A run that a worker has taken
        and that has not said a word yet has its place, too.
        """
        try:
            workers = self._broker.workers()
            there = serving(workers, location)
            images = [worker.image for worker in there]
            if images and image not in images:
                image = images[0]
            there = [worker for worker in there if worker.image == image]
            running = self._broker.running(there)
            queue = queue_of(location, image)
            with self.celery.connection_for_write() as connection:
                waiting = connection.default_channel.queue_declare(queue).message_count  # type: ignore[attr-defined]
        except (KombuError, BrokerError, OSError) as error:
            raise self._unreachable(f"The broker does not answer: {error}") from error
        if not there:
            raise self._unreachable(_nobody(workers, location))
        places = sum(worker.places for worker in there)
        taken = max(len(running) + waiting, len(running | self._waiting.launched(queue)))
        if taken >= places:
            raise self._unreachable(
                f"all places of the workers of {location} are taken ({places}); start more of "
                "them, give them more --places, or let fewer of its runs be under way at once"
            )
        return queue

    def _unreachable(self, why: str) -> DagsterUserCodeUnreachableError:
        """Return the error on which the daemon puts a run back into its queue."""
        queue = self._instance.get_concurrency_config().run_queue_config
        if queue is None or not queue.max_user_code_failure_retries:
            why += (
                ". The run fails, because dagster.yaml does not let it wait: set "
                "max_user_code_failure_retries of the run_coordinator to a large number"
            )
        return DagsterUserCodeUnreachableError(why)

    # --- ending ---------------------------------------------------------------------------

    def terminate(self, run_id: str) -> bool:
        """Have the run canceled. Its own process sees that within seconds, and ends as CANCELED.

        Return whether there was anything to cancel.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    # --- health ---------------------------------------------------------------------------

    @property
    def supports_resume_run(self) -> bool:
        """False: Dagster's resumed runs do not end on these workers. A retry is a new run."""
        return False

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether `run`, which is in progress, is being made.

        Without an answer of the broker nothing is known, and the run goes on. A run that has said
        nothing for `SILENT_AFTER` seconds is lost.
        """
        now = time.monotonic()
        try:
            word = self._broker.run(run.run_id)
        except BrokerError as error:
            self._answers_since = None
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, f"the broker does not answer: {error}"
            )
        if self._answers_since is None:
            self._answers_since = now
        if word and word[1] <= SILENT_AFTER:
            self._missed_since.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        missed = self._missed_since.setdefault(run.run_id, now - (word[1] if word else 0.0))
        # Words are old, too, when it was the broker that was away.
        silent = now - max(missed, self._answers_since)
        if silent < SILENT_AFTER or not self._is_unfinished(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        del self._missed_since[run.run_id]
        who = f"{word[0]}, which was making it" if word else "The run"
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"{who}, has said nothing for {span(silent)}"
        )

    def _is_unfinished(self, run: dg.DagsterRun) -> bool:
        known = self._instance.get_run_by_id(run.run_id)
        return known is not None and known.status in _UNFINISHED

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Return which workers serve the location of `run`, or since when there is none."""
        del include_container_logs
        try:
            workers = self._broker.workers()
        except BrokerError as error:
            return f"The broker does not answer: {error}"
        location = _location_of(run)
        names = ", ".join(worker.name for worker in serving(workers, location))
        return f"Workers of {location}: {names}" if names else _nobody(workers, location)


def _location_of(run: dg.DagsterRun) -> str:
    """Return the code location whose workers make the run."""
    if run.remote_job_origin is None:
        raise dg.DagsterInvariantViolationError(_ONLY_HERE.format("its location", run.run_id))
    return run.remote_job_origin.location_name


def _code_of(run: dg.DagsterRun) -> JobPythonOrigin:
    """Return where the run's code is: in which Python, module and container image."""
    if run.job_code_origin is None:
        raise dg.DagsterInvariantViolationError(_ONLY_HERE.format("where its code is", run.run_id))
    return run.job_code_origin


def _priority(run: dg.DagsterRun) -> int:
    """Return how soon Celery should take the run: 0 is the first, 9 the last.

    `dagster/priority` is by how many seconds the run is late; see `freshline.planner.priority_of`.
    """
    try:
        late = int(run.tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0
    return next((step for step, least in ((0, 0), (3, -60), (6, -300)) if late >= least), 9)


def _nobody(workers: list[Worker], location: str) -> str:
    last = next((worker for worker in workers if worker.location == location), None)
    now = time.time()
    since = f"since {clock(now - last.age, now)}" if last else "was heard of in the last week"
    return f"no worker of {location} {since}; start one: freshline worker {location}"
