"""Durations: what each asset's recent runs took, by phase, from the event log.

The arithmetic is in `freshline.planner.moments`, which the simulation shares. An asset's time is
measured from when the last version that it read was made, so that the times along a path add up to
the time that the path takes. This holds between two runs, between two steps of a run, and between
two models of one dbt step: the execution of a model does not include the models before it.
"""

from __future__ import annotations

from collections.abc import Callable

from freshline.history.materialized import Materialized
from freshline.history.places import Places
from freshline.history.runs import Run
from freshline.model import Durations
from freshline.planner.moments import measure, remember

__all__ = ["Stopwatch"]

_UNMEASURED = Durations()


class Stopwatch:
    """Collects the durations of all assets."""

    def __init__(self) -> None:
        self._durations: dict[str, Durations] = {}

    def durations(self, key: str) -> Durations:
        """Return what runs of the asset took."""
        return self._durations.get(key, _UNMEASURED)

    def learn(
        self,
        run: Run,
        tick_of: Callable[[str], float],
        made_at: Callable[[int], float | None],
        closed_at: Callable[[Materialized], float | None],
        places: Places,
    ) -> None:
        """Add the durations of all that a run has delivered, even if it failed later.

        The run has ended. `tick_of` returns the tick (seconds) of an asset, `made_at` the time of
        a version, `closed_at` when the window of a version had closed, if it had one. `places`
        knows since when there was a place for the run. Everything is measured by the clock of the
        run's location. Small differences to others may not be seen: no phase is below zero.
        """
        launched_at = (run.launched or run.created) + run.clock_ahead
        launchable_at = places.launchable_at(run) + run.clock_ahead
        for made in sorted(run.delivered.values(), key=lambda made: made.id):
            started = run.step_started(made.step)
            if started is None:
                continue
            measured = measure(
                ready_at=_ready_at(made, made_at, closed_at),
                requested_at=run.requested,
                launched_at=launched_at,
                started_at=started,
                materialized_at=made.at,
                tick=tick_of(made.key),
                launchable_at=launchable_at,
                startable_at=places.startable_at(run, made.key, made.step, started),
            )
            self._durations[made.key] = remember(self.durations(made.key), measured)


def _ready_at(
    made: Materialized,
    made_at: Callable[[int], float | None],
    closed_at: Callable[[Materialized], float | None],
) -> float | None:
    """Return when `made` could be made: the last version that it read was there, its window closed.

    None: at any time.
    """
    inputs = (made_at(version) for _, version in made.consumed if version is not None)
    return max((at for at in (*inputs, closed_at(made)) if at is not None), default=None)
