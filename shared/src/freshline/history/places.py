"""Places: since when each run could have been launched, and each step could have begun.

A run waits for one of the instance's slots and for a place in its pools, or for somebody to take
it. That wait says how much else there is to do, or what is broken, and nothing about the asset, so
it must not be learnt as the asset's duration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Final, NamedTuple

from freshline.history.limits import Limits
from freshline.history.run_events import StepEvents
from freshline.history.runs import Run
from freshline.model import SLOTS, Graph

__all__ = ["Places", "free_since"]

_REMEMBERED: Final = 2_000  # stays of ended runs


class _Stay(NamedTuple):
    """How long a run, or a step of it, had a place."""

    place: str
    """The pool, or `SLOTS`."""
    begin: float
    end: float
    run_id: str
    step: str


class Places:
    """Remembers who had which place, and when. What has no limit is not remembered."""

    def __init__(self) -> None:
        self._ended: deque[_Stay] = deque(maxlen=_REMEMBERED)
        self._stays: list[_Stay] = []
        self._graph = Graph({})
        self._limits = Limits()

    def follow(
        self, ended: Iterable[Run], active: Iterable[Run], graph: Graph, limits: Limits
    ) -> None:
        """Add the runs that have ended since the last call. `active` runs have not."""
        self._graph, self._limits = graph, limits
        for run in ended:
            self._ended.extend(self._stays_of(run))
        self._stays = list(self._ended)
        for run in active:
            if run.has_slot:
                self._stays.extend(self._stays_of(run))

    def launchable_at(self, run: Run) -> float:
        """Return since when there was a place for `run`, until it was launched; -inf: always."""
        launched = run.launched
        if launched is None:
            return -inf
        if run.events.tried_before:
            return launched  # until then there was nobody to take it
        free = [self._free_since(SLOTS, self._limits.slots, run, launched)]
        for pool, limit in self._limits.pools.items():
            if pool in run.pools:
                since = self._free_since(pool, limit, run, launched)
                # Where steps take places, a run can be launched that must wait for one.
                if not self._limits.by_step or since < launched:
                    free.append(since)
        return max(free)

    def startable_at(self, run: Run, key: str, step: str, started: float) -> float:
        """Return since when there was a place for the step of an asset, until it started.

        -inf: always.
        """
        if not self._limits.by_step:
            return -inf
        return max(
            (
                self._free_since(pool, self._limits.pools.get(pool), run, started, step)
                for pool in _pools(self._graph, key)
            ),
            default=-inf,
        )

    def _free_since(
        self, place: str, places: int | None, run: Run, until: float, step: str = ""
    ) -> float:
        stays = (
            (stay.begin, stay.end)
            for stay in self._stays
            if stay.place == place
            and stay.end > run.requested - run.clock_ahead
            and not (stay.run_id == run.id and (not step or _is_part(stay.step, step)))
        )
        return free_since(stays, places, until)

    def _stays_of(self, run: Run) -> Iterator[_Stay]:
        if run.launched is None:
            return
        whole = run.launched, (run.ended or run.launched) if run.finished else inf
        if self._limits.slots is not None:
            yield _Stay(SLOTS, *whole, run.id, "")
        for pool in run.pools & self._limits.pools.keys():
            if not self._limits.by_step:
                yield _Stay(pool, *whole, run.id, "")
                continue
            for step, events in self._steps_in(run, pool).items():
                if events.started is not None:
                    end = whole[1] if events.ended is None else events.ended
                    yield _Stay(pool, events.started, end, run.id, step)

    def _steps_in(self, run: Run, pool: str) -> Mapping[str, StepEvents]:
        """Return the steps of `run` that need a place in `pool`: all, if the graph does not say."""
        named = [step for key, step in run.to_make().items() if pool in _pools(self._graph, key)]
        return {
            step: events
            for step, events in run.events.steps.items()
            if not named or any(_is_part(step, one) for one in named)
        }


def free_since(stays: Iterable[tuple[float, float]], places: int | None, until: float) -> float:
    """Return from when to `until` one of `places` was free without a break.

    `stays` are the times at which others took a place and left it; infinite: not yet. -inf: one
    was free at all times, as is always so if `places` is None. `until`: none was.
    """
    if places is None:
        return -inf
    begun = [stay for stay in stays if stay[0] < until]
    taken = sum(end >= until for _, end in begun)
    if taken >= places:
        return until
    # Back in time. Who comes when somebody leaves has taken the place that was left.
    changes = [(-begin, -1) for begin, _ in begun]
    changes += [(-end, 1) for _, end in begun if end < until]
    for before, change in sorted(changes):
        taken += change
        if taken >= places:
            return -before
    return -inf


def _pools(graph: Graph, key: str) -> tuple[str, ...]:
    asset = graph.assets.get(key)
    return asset.pools if asset else ()


def _is_part(step: str, whole: str) -> bool:
    """Return whether `step` is, or belongs to the same graph of ops as, the step `whole`."""
    return step.partition(".")[0] == whole.partition(".")[0]
