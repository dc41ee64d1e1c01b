"""Runs that wait for a worker, and go back into Dagster's queue when none is left for them.

The launcher puts a run into a queue of Celery if a worker has a place for it. That worker may be
told to end, or be killed, before it takes the run: nobody would take it then, and Dagster would
fail it because it does not start.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg
from celery import Celery

from freshline.engine.broker import Broker, serving
from freshline.engine.queues import queue_of

__all__ = ["WaitingRun", "WaitingRuns"]

_LOOK_EVERY: Final = 3.0
"""Seconds between two looks at the runs that wait."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WaitingRun:
    """A run that is in a queue of Celery."""

    instance: dg.DagsterInstance
    run_id: str
    location: str
    queue: str


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

    def _keep_looking(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_LOOK_EVERY)
            with self._lock:
                runs = list(self._runs.values())
                if not runs:
                    self._thread = None
                    return
            for run in runs:
                try:
                    waits = self._look(run)
                except Exception as error:  # noqa: BLE001  # of broker or database: both come back
                    _log.warning("Run %s waits, and cannot be looked at: %s", run.run_id, error)
                    continue
                if not waits:
                    with self._lock:
                        self._runs.pop(run.run_id, None)

    def _look(self, run: WaitingRun) -> bool:
        """Put `run` back if nobody serves its queue. Return whether it still waits there."""
        known = run.instance.get_run_by_id(run.run_id)
        waiting = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)
        if known is None or known.status not in waiting:
            return False
        workers = serving(self._broker.workers(), run.location)
        if any(queue_of(worker.location, worker.image) == run.queue for worker in workers):
            return True
        if not self._take_out(run):
            return True  # a worker has taken it; if that is killed, the run is in the queue again
        run.instance.report_engine_event(
            f"Back into the queue: the workers of {run.location} ended before one took the run.",
            known,
            cls=type(self),
        )
        run.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(known), run.run_id)
        return False

    def _take_out(self, run: WaitingRun) -> bool:
        """Take the run out of its queue. Return whether it was there."""
        with self._celery.connection_for_write() as connection:
            channel: Any = connection.default_channel
            for priority in channel.priority_steps:
                key = channel._q_for_pri(run.queue, priority)  # noqa: SLF001  # no public name
                for message in channel.client.lrange(key, 0, -1):
                    if json.loads(message)["headers"]["id"] == run.run_id:
                        # 0: a worker has taken it since.
                        return bool(channel.client.lrem(key, 1, message))
        return False
