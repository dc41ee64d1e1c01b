"""Where the time of a cycle goes: from a sync that begins to read until a target has its rows.

A cycle is the path of one version of a target: of each asset, the version that it was made from and
that had the oldest data. Every duration is in seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import NamedTuple

from freshline.history.past import Change, ChangeKind
from freshline.model import Graph
from freshline.report.lag import Interval

__all__ = ["AssetShare", "Cycle", "Cycles", "Part", "Paths", "Span", "Stop", "cycles_of"]


class Part(StrEnum):
    """What an asset on the path waits for, or does."""

    HELD = "held until due"
    """Its input is there, and the plan has decided to wait: it is not due yet."""
    TICK = "wait for a tick"
    QUEUE = "queue"
    START = "start of the run"
    MAKE = "sync or build"


class Span(NamedTuple):
    part: Part
    begin: float
    """UTC, epoch seconds; so is the end."""
    end: float


@dataclass(frozen=True, slots=True)
class Stop:
    """One version on the path."""

    key: str
    location: str
    at: float
    """When the version was made."""
    spans: Sequence[Span]
    """In order of time, without gaps."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """The path of one version of a target, from a root on."""

    data_time: float
    at: float
    """When the target's version was made."""
    stops: Sequence[Stop]

    @property
    def seconds(self) -> float:
        return self.at - self.data_time


@dataclass(frozen=True, slots=True)
class AssetShare:
    """How many seconds of an average cycle an asset takes."""

    key: str
    location: str
    seconds: Mapping[Part, float]


@dataclass(frozen=True, slots=True)
class Cycles:
    """All cycles of a target."""

    target: str
    count: int
    usual: Cycle
    """One that really was; half of the others were shorter."""
    shares: Sequence[AssetShare]
    """Of the average cycle, from the root to the target. Together they are its length."""


def cycles_of(target: str, paths: Paths, times: Sequence[Interval]) -> Cycles | None:
    """Return the cycles of `target` that ended in `times`; None: none of them is known."""
    found = [
        cycle
        for change in paths.versions.get(target, ())
        if any(time.begin <= change.at < time.end for time in times)
        and (cycle := paths.cycle(change))
    ]
    if not found:
        return None
    found.sort(key=lambda cycle: cycle.seconds)
    return Cycles(target, len(found), found[len(found) // 2], _shares(found))


class Paths:
    """Finds the paths from versions of targets back to the roots.

    `changes` has those of each asset, in the order of their events.
    """

    def __init__(self, graph: Graph, changes: Mapping[str, Iterable[Change]]) -> None:
        self._graph = graph
        self.versions = {key: list(filter(_is_version, each)) for key, each in changes.items()}
        self._events = {key: [it.event for it in each] for key, each in self.versions.items()}
        self._before = _made_before(self.versions)

    def cycle(self, change: Change) -> Cycle | None:
        """Return the cycle that ended with `change`; None: some part of it is not known."""
        path = [change]
        while (read := self._oldest_read(path[-1])) is not None:
            path.append(read)
        if any(dep in self.versions for dep in self._inputs(path[-1].key)):
            return None  # what it was made from is older than what is known
        if any(self._graph.assets[it.key].partitioned for it in path):
            return None  # its data are as old as its window, which no run can change
        path.reverse()
        data_time = change.data_time
        if data_time is None or any(it.started is None for it in path if it.run_id):
            return None
        stops = []
        ready: float | None = None
        for it in path:
            stops.append(self._stop(it, ready))
            ready = it.at
        return Cycle(data_time, change.at, stops)

    def _oldest_read(self, change: Change) -> Change | None:
        """Return the version with the oldest data that `change` was made from; None: a root."""
        read = [
            version
            for dep in self._inputs(change.key)
            if (version := self._newest_before(dep, change)) is not None
        ]
        return min(read, key=lambda it: inf if it.data_time is None else it.data_time, default=None)

    def _inputs(self, key: str) -> set[str]:
        """Return what an asset is made from; what a view shows stands for the view."""
        found: set[str] = set()
        asset = self._graph.assets.get(key)
        waiting, seen = list(asset.deps) if asset else [], {key}
        while waiting:
            dep = waiting.pop()
            read = self._graph.assets.get(dep)
            if dep in seen or read is None:
                continue
            seen.add(dep)
            if read.view:
                waiting.extend(read.deps)
            else:
                found.add(dep)
        return found

    def _newest_before(self, key: str, change: Change) -> Change | None:
        """Return the version of `key` that was there when the step of `change` began."""
        place = bisect_left(self._events.get(key, []), change.event)
        begun = inf if change.started is None else change.started
        for version in reversed(self.versions.get(key, ())[:place]):
            if version.at <= begun or version.run_id == change.run_id:
                return version
        return None

    def _stop(self, change: Change, ready: float | None) -> Stop:
        """Return how `change` was made, from when its input was `ready`; None: it has none."""
        asset = self._graph.assets[change.key]
        begin = max(
            (it for it in (change.started, self._before.get((change.event, change.key))) if it),
            default=change.at,
        )
        asked = change.requested
        if ready is None:
            # The time of a root counts from when it was asked for.
            ready = begin if asked is None else min(asked, begin)
        times = [ready]
        tick = self._graph.tick(asset.location)
        requested = ready if asked is None else max(asked, ready)
        for time in (
            max(ready, requested - tick),
            requested,
            change.launched if change.launched is not None else requested,
            begin,
            change.at,
        ):
            times.append(min(max(time, times[-1]), change.at))
        spans = [
            Span(part, since, until)
            for part, (since, until) in zip(Part, pairwise(times), strict=True)
            if until > since
        ]
        return Stop(change.key, asset.location, change.at, spans)


def _is_version(change: Change) -> bool:
    return change.kind in (ChangeKind.MADE, ChangeKind.OBSERVED)


def _made_before(versions: Mapping[str, Sequence[Change]]) -> dict[tuple[int, str], float]:
    """Return when the version before was there that the same run made, by event and key."""
    found: dict[tuple[int, str], float] = {}
    last: dict[str, float] = {}
    every = [change for each in versions.values() for change in each if change.run_id]
    for change in sorted(every, key=lambda change: change.event):
        if change.run_id in last:
            found[change.event, change.key] = last[change.run_id]
        last[change.run_id] = change.at
    return found


def _shares(cycles: Sequence[Cycle]) -> list[AssetShare]:
    """Return what each asset takes of the average cycle, in the order of the longest path."""
    order = {
        stop.key: (place, stop.location)
        for cycle in sorted(cycles, key=lambda cycle: len(cycle.stops))
        for place, stop in enumerate(cycle.stops)
    }
    seconds: dict[str, dict[Part, float]] = {key: defaultdict(float) for key in order}
    for cycle in cycles:
        for stop in cycle.stops:
            for part, begin, end in stop.spans:
                # What was before the root began to read is no part of the lag.
                seconds[stop.key][part] += max(0.0, end - max(begin, cycle.data_time))
    return [
        AssetShare(
            key, location, {part: taken / len(cycles) for part, taken in seconds[key].items()}
        )
        for key, (_, location) in sorted(order.items(), key=lambda item: item[1])
    ]
