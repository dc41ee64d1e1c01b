"""Dagster's queue of runs, in a daemon that is made ready for `WarmRunLauncher` when it starts."""

from __future__ import annotations

from dagster._core.run_coordinator import QueuedRunCoordinator

from freshline.engine.launcher import WarmRunLauncher

__all__ = ["WarmRunCoordinator"]


class WarmRunCoordinator(QueuedRunCoordinator):
    """Dagster's own run coordinator, with the fields of that in ``dagster.yaml``::

        run_coordinator:
          module: freshline.engine.coordinator
          class: WarmRunCoordinator
          config:
            dequeue_interval_seconds: 1

    With another run launcher it is Dagster's own and nothing more.
    """

    @property
    def dequeue_interval_seconds(self) -> int:
        """Return the seconds between two looks into the queue.

        Only Dagster's daemon asks, once, before it does anything else: this is where it begins.
        """
        launcher = self._instance.run_launcher
        if isinstance(launcher, WarmRunLauncher):
            launcher.settle_daemon()
        return super().dequeue_interval_seconds
