"""Dagster's queue of runs, in a daemon that is made ready for `WarmRunLauncher` when it starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from freshline.engine.launcher import WarmRunLauncher

__all__ = ["WarmRunCoordinator"]

_logger = logging.getLogger(__name__)


class WarmRunCoordinator(QueuedRunCoordinator):
    """Dagster's own run coordinator, with the fields of that in ``dagster.yaml``::

        run_coordinator:
          module: freshline.engine.coordinator
          class: WarmRunCoordinator
          config:
            dequeue_interval_seconds: 1

    What the daemon itself submits, all runs of sensors and schedules, it launches at once. Other
    runs wait for its next look. With another run launcher it is Dagster's own and nothing more.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._submitted = threading.Event()

    @property
    def dequeue_interval_seconds(self) -> int:
        """Return the seconds between two looks into the queue.

        Only Dagster's daemon asks, once, before it does anything else: this is where it begins.
        """
        seconds = super().dequeue_interval_seconds
        launcher = self._instance.run_launcher
        if not isinstance(launcher, WarmRunLauncher):
            return seconds
        launcher.settle_daemon()
        return 0 if _wait_before_each_look(self._wait, seconds) else seconds

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Put the run into the queue."""
        run = super().submit_run(context)
        self._submitted.set()
        return run

    def _wait(self, seconds: float) -> None:
        """Wait until a run is submitted in this process, `seconds` at most."""
        self._submitted.wait(seconds)
        self._submitted.clear()


def _wait_before_each_look(wait: Callable[[float], None], seconds: float) -> bool:
    """Have this process's daemon call `wait` before it looks into the queue.

    Return whether it does.
    """
    # No other process needs it.
    from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
        QueuedRunCoordinatorDaemon,
    )

    usual_look = getattr(QueuedRunCoordinatorDaemon, "run_iteration", None)
    if usual_look is None:
        _logger.warning("This daemon's Dagster is another one: runs wait for its interval")
        return False

    def run_iteration(self: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        wait(seconds)
        yield from usual_look(self, *arguments, **options)

    # A function of the daemon is replaced, which types do not foresee.
    QueuedRunCoordinatorDaemon.run_iteration = run_iteration  # type: ignore[method-assign,assignment]
    return True
