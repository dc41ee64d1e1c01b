"""Runs that wait for a worker, and go back into Dagster's queue when none is left for them.

The launcher puts a run into a queue of Celery if a worker has a place for it. That worker may be
told to end, or be killed, before it takes the run: nobody would take it then, and Dagster would
fail it because it does not start.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg
from celery import Celery

from freshline.engine.broker import Broker, serving
from freshline.engine.queues import queue_of

__all__ = ["WaitingRun", "WaitingRuns"]

_LOOK_EVERY: Final = 3.0
"""Seconds between two looks at the runs that wait."""
_WAITS_FOR: Final = 30.0
"""Seconds that a run may wait. There was a place for it; it is taken or gone if that takes longer,
and others pass the run in Dagster's queue."""

_BEFORE: Final = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)
"""The statuses of a run that was launched and has not begun."""

_log = logging.getLogger(__name__)


@dataclass
class WaitingRun:
    """A run that is in a queue of Celery."""

    instance: dg.DagsterInstance
    run_id: str
    location: str
    queue: str
    since: float = field(default_factory=time.monotonic)
    why: str = ""
    """Why it was taken out of that queue; empty: it was not."""


class WaitingRuns:
    """Looks at the runs that wait, in a thread of its own, as long as there are any."""

    def __init__(self, broker: Broker, celery: Celery) -> None:
        self._broker = broker
        self._celery = celery
        self._runs: dict[str, WaitingRun] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, run: WaitingRun) -> None:
        """Look at `run` until a worker makes it, or it is back in Dagster's queue."""
        with self._lock:
            self._runs[run.run_id] = run
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_looking, daemon=True)
                self._thread.start()

    def launched(self, queue: str) -> set[str]:
        """Return the ids of the runs that were put into `queue` and have not begun."""
        return {run.run_id for run in self._all() if run.queue == queue and _status(run) in _BEFORE}

    def _all(self) -> list[WaitingRun]:
        with self._lock:
            return list(self._runs.values())

    def _keep_looking(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_LOOK_EVERY)
            with self._lock:
                if not self._runs:
                    self._thread = None
                    return
            for run in self._all():
                try:
                    waits = self._look(run)
                except Exception as error:  # noqa: BLE001  # of broker or database: both come back
                    _log.warning("Run %s waits, and cannot be looked at: %s", run.run_id, error)
                    continue
                with self._lock:
                    if not waits and self._runs.get(run.run_id) is run:
                        del self._runs[run.run_id]

    def _look(self, run: WaitingRun) -> bool:
        """Put `run` back if nobody takes it. Return whether it still waits there."""
        if _status(run) not in _BEFORE:
            return False
        if not run.why:
            why = self._why_not_taken(run)
            # A worker may have taken it just now. If that is killed, it is in the queue again.
            if not why or not self._take_out(run):
                return True
            run.why = why
        _put_back(run)
        return False

    def _why_not_taken(self, run: WaitingRun) -> str:
        """Return why `run` should not wait any longer; empty: it should."""
        workers = serving(self._broker.workers(), run.location)
        if all(queue_of(worker.location, worker.image) != run.queue for worker in workers):
            return f"the workers of {run.location} ended before one took the run."
        if time.monotonic() - run.since > _WAITS_FOR:
            return f"no worker of {run.location} has taken the run."
        return ""

    def _take_out(self, run: WaitingRun) -> bool:
        """Take the run out of its queue. Return whether it was there."""
        with self._celery.connection_for_write() as connection:
            channel: Any = connection.default_channel
            for priority in channel.priority_steps:
                key = channel._q_for_pri(run.queue, priority)  # noqa: SLF001  # no public name
                for message in channel.client.lrange(key, 0, -1):
                    if json.loads(message)["headers"]["id"] == run.run_id:
                        # None is removed if a worker has taken it since; two if it was sent again
                        # because nobody knew that the first had arrived.
                        return bool(channel.client.lrem(key, 0, message))
        return False


def _status(run: WaitingRun) -> dg.DagsterRunStatus | None:
    """Return the status of `run`; None: it was deleted."""
    known = run.instance.get_run_by_id(run.run_id)
    return known.status if known else None


def _put_back(run: WaitingRun) -> None:
    """Put a run that was taken out back into Dagster's queue, or end it if it was canceled."""
    known = run.instance.get_run_by_id(run.run_id)
    if known is None or known.status not in _BEFORE:
        return
    if known.status is dg.DagsterRunStatus.CANCELING:
        run.instance.report_run_canceled(known)
    elif run.instance.get_concurrency_config().run_queue_config is None:
        run.instance.report_run_failed(known, f"There is no queue of runs, and {run.why}")
    else:
        run.instance.report_engine_event(f"Back into the queue: {run.why}", known, cls=WaitingRuns)
        run.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(known), run.run_id)
