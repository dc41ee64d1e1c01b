"""A workspace on a virtual clock: runs take random durations, may fail, and leave a history.

The scheduler under test sees what a real one sees, a `Snapshot`, and nothing else. Time is
virtual, in epoch seconds from 0; a simulated day takes seconds.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import inf
from random import Random
from typing import Final, NamedTuple, Protocol

from freshline.model import AssetState, Graph, Pending, Phase, Plan, Snapshot
from freshline.planner import lineage_of, plan, priority_of, requested_groups
from freshline.planner.moments import measure
from freshline.simulate.data import Data
from freshline.simulate.record import NO_PARTITION, Record
from freshline.simulate.scenario import Change, Fault, Feed, NothingToMake, Scenario

__all__ = ["ByPlan", "Request", "Run", "Scheduler", "World", "simulate"]

_TICKS_MEASURED: Final = 10
"""After so many ticks of a location it is known how long they really are apart."""


@dataclass(slots=True)
class Run:
    """One run and what became of it."""

    id: str
    location: str
    keys: tuple[str, ...]
    """Inputs first."""
    requested_at: float
    launched_at: float | None = None
    """When it left the queue; None: it waits there."""
    priority: int = 0
    """Of the runs that wait, the one with the highest is launched first, then the oldest."""
    parts: tuple[str, ...] = ()
    """The partitions that it makes of each partitioned asset."""
    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    nothing: dict[str, float] = field(default_factory=dict)
    """When it had nothing to make of an asset, by key."""
    improved: dict[str, bool] = field(default_factory=dict)
    """Whether the data of each asset that it delivered is newer than before."""

    @property
    def done(self) -> set[str]:
        """The assets of which it has made all that it will make."""
        return self.ended.keys() | self.failed.keys() | self.nothing.keys()

    @property
    def ended_at(self) -> float:
        """When it ended; inf: it has not."""
        if not self.done.issuperset(self.keys):
            return inf
        return max([*self.ended.values(), *self.failed.values(), *self.nothing.values()])


class Request(NamedTuple):
    """What one run is to make."""

    keys: tuple[str, ...]
    """All of one location."""
    parts: tuple[str, ...] = ()
    """The partition, or the range of partitions, of each partitioned asset."""
    priority: int = 0
    """Its `dagster/priority`."""


class Scheduler(Protocol):
    """Decides for one location at a time what to run."""

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        """Return what `location` requests at `world.now`."""


class ByPlan:
    """Requests what freshline's planner says, as the sensor of each location does."""

    def __init__(self) -> None:
        # All locations make the same plan at the same time and in the same state: make it once.
        self._planned: tuple[tuple[float, int], Plan] | None = None

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        state = world.now, world.changes
        if self._planned is None or self._planned[0] != state:
            self._planned = state, world.plan()
        return [
            Request(
                tuple(asset.key for asset in group.assets), group.parts, priority_of(group.assets)
            )
            for group in requested_groups(self._planned[1], world.graph, location)
        ]


def simulate(scenario: Scenario, until: float, scheduler: Scheduler | None = None) -> World:
    """Return the world of `scenario` at `until` (seconds after the beginning)."""
    world = World(scenario, scheduler or ByPlan())
    world.advance(until)
    return world


class World:
    """Where the simulation stands, and what has happened so far."""

    def __init__(self, scenario: Scenario, scheduler: Scheduler) -> None:
        self.scenario = scenario
        self.now = 0.0
        self.seen: dict[str, float] = {}
        self.runs: list[Run] = []
        self.overlaps: list[tuple[float, str]] = []
        """When an asset, or a partition of it, was started while it was running, and which; it
        should stay empty."""
        self._durations = dict(scenario.durations)
        self._ticks: Counter[str] = Counter()
        """How often each location has ticked."""
        self._record = Record(scenario)
        self._scheduler = scheduler
        self._random = Random(scenario.seed)  # noqa: S311  # nothing secret
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._order = count()
        self._executing: dict[tuple[str, str], int] = {}
        self._queue: list[Run] = []
        """The runs that wait for a slot or a pool, the oldest first."""
        self._launched: dict[str, Run] = {}
        """The runs that have left the queue and have not ended, by id."""
        self._deploy(scenario.graph)
        locations = {it.location for it in self.graph.assets.values() if not it.elsewhere}
        for location in sorted(locations):
            self._at(scenario.first_ticks.get(location, 0.0), partial(self._tick, location), rank=1)
        for time, key in scenario.by_hand:
            self._at(time, partial(self._start_by_hand, key))
        for time, key, part in scenario.backfills:
            self._at(time, partial(self._start_by_hand, key, part))
        for feed in scenario.feeds:
            self._at(feed.begin, partial(self._report, feed))
        for change in scenario.changes:
            self._at(change.time, partial(self._change, change))
        for time, graph in scenario.deployments:
            self._at(time, partial(self._deploy, graph), rank=-1)

    @property
    def graph(self) -> Graph:
        """Return the graph that is deployed now."""
        return self.lineage.graph

    @property
    def states(self) -> dict[str, AssetState]:
        """Return the state of every asset that anything has happened to."""
        return self._record.states

    @property
    def versions(self) -> dict[str, list[tuple[float, float | None]]]:
        """Return when each version of each asset appeared, and its data time.

        A data time that moved on without a version is there too.
        """
        return self._record.versions

    @property
    def changes(self) -> int:
        """Return a number that goes up with every change of a state or of the graph."""
        return self._record.changes

    def snapshot(self) -> Snapshot:
        """Return what a history would say now."""
        self._record.bring_up_to(self.now)
        return Snapshot(
            dict(self.states),
            dict(self.seen),
            ticks=self._measured_ticks(),
            capacity=self.scenario.capacity,
        )

    def plan(self) -> Plan:
        """Return what freshline would do now."""
        return plan(self.lineage, self.snapshot(), self.now)

    def advance(self, until: float) -> None:
        """Let everything happen that is due before `until`."""
        while self._events and self._events[0][0] < until:
            self.now, _, _, action = heapq.heappop(self._events)
            action()
        self.now = until

    def _at(self, time: float, action: Callable[[], None], rank: int = 0) -> None:
        """Call `action` at `time`. At the same time, deployments come first (rank -1), then what
        runs do (rank 0), then ticks (rank 1), then the queue (rank 2).
        """
        heapq.heappush(self._events, (time, rank, next(self._order), action))

    # --- locations ------------------------------------------------------------------------

    def _tick(self, location: str) -> None:
        interval = self.scenario.real_ticks.get(location, self.graph.tick(location))
        self._at(self.now + interval, partial(self._tick, location), rank=1)
        if any(
            outage.location == location and outage.begin <= self.now < outage.end
            for outage in self.scenario.outages
        ):
            return
        self.seen[location] = self.now
        self._ticks[location] += 1
        for request in self._scheduler(self, location):
            self.start_run(request)

    def _measured_ticks(self) -> dict[str, float]:
        """Return the seconds between two ticks of each location where that is known by now."""
        return {
            location: seconds
            for location, seconds in self.scenario.real_ticks.items()
            if self._ticks[location] >= _TICKS_MEASURED
        }

    def _change(self, change: Change) -> None:
        self._durations[change.asset] = change.duration

    def _deploy(self, graph: Graph) -> None:
        self.lineage = lineage_of(_promised(graph))
        self._record.follow(self.lineage)

    def _start_by_hand(self, key: str, part: str = "") -> None:
        self.start_run(Request(self.lineage.made_together[key], (part,) if part else ()))

    def _report(self, feed: Feed) -> None:
        """Let somebody outside report a version."""
        if self.now + feed.every < feed.end:
            self._at(self.now + feed.every, partial(self._report, feed))
        self._record.report(feed.asset, self.now - feed.age, self.now)

    # --- runs ------------------------------------------------------------------------------

    def start_run(self, request: Request) -> Run:
        """Request a run now. It starts when there is room for it."""
        run = Run(
            id=f"run-{len(self.runs) + 1}",
            location=self.graph.assets[request.keys[0]].location,
            keys=request.keys,
            requested_at=self.now,
            priority=request.priority,
            parts=request.parts,
        )
        self.runs.append(run)
        if self._is_limited:
            self._await(run)
            self._queue.append(run)
            self._at(self.now, self._serve_queue, rank=2)
        else:
            self._launch(run)
        return run

    @property
    def _is_limited(self) -> bool:
        return bool(self.scenario.capacity.limits)

    def _serve_queue(self) -> None:
        """Launch what there is room for, as Dagster does: a run whose pool is full is passed over.

        A run needs a place in the pools of all its assets, for its whole time.
        """
        for run in sorted(self._queue, key=lambda run: -run.priority):
            if self._has_room(run):
                self._queue.remove(run)
                self._launch(run)

    def _has_room(self, run: Run) -> bool:
        capacity = self.scenario.capacity
        if capacity.slots is not None and capacity.slots <= capacity.others + len(self._launched):
            return False
        taken = [pool for other in self._launched.values() for pool in self.pools(other)]
        return all(taken.count(pool) < capacity.pools.get(pool, inf) for pool in self.pools(run))

    def pools(self, run: Run) -> set[str]:
        """Return the pools that `run` needs a place in."""
        return {pool for key in run.keys for pool in self.graph.assets[key].pools}

    def _launch(self, run: Run) -> None:
        run.launched_at = self.now
        self._launched[run.id] = run
        self._await(run)
        self._at(
            self.now + self.scenario.launch.sample(self._random), partial(self._start_ready, run)
        )

    def _await(self, run: Run) -> None:
        """Note which assets `run` will deliver."""
        pending = Pending(run.id, run.requested_at, launched_at=run.launched_at)
        for key in run.keys:
            self._record.await_run(key, self._parts(run, key), pending)

    def _parts(self, run: Run, key: str) -> tuple[str, ...]:
        """Return the partitions of `key` that `run` makes."""
        return run.parts if self.graph.assets[key].partitioned else NO_PARTITION

    def _start_ready(self, run: Run) -> None:
        """Start every execution set of `run` whose inputs in the same run are there."""
        done = run.done
        for key in run.keys:
            if key in run.started or key in done:
                continue
            together = tuple(
                other for other in self.lineage.made_together[key] if other in run.keys
            )
            inputs = {dep for other in together for dep in self.graph.assets[other].deps}
            within = (inputs - set(together)) & set(run.keys)
            if within & run.failed.keys():
                for other in together:
                    run.failed[other] = self.now
                    self._record.give_up(other, self._parts(run, other))
            elif within & run.nothing.keys():
                for other in together:
                    run.nothing[other] = self.now
                    self._record.find_nothing(other, self._parts(run, other), (), self.now)
            elif within <= run.ended.keys():
                self._start(run, together)

    def _start(self, run: Run, together: tuple[str, ...]) -> None:
        made: dict[str, dict[str, Data]] = {}
        ready_at: dict[str, float | None] = {}
        for key in together:
            run.started[key] = self.now
            parts = self._parts(run, key)
            made[key] = {part: self._record.read(key, part, self.now) for part in parts}
            ready_at[key] = self._record.ready_at(key, parts)
            for part in parts:
                if self._executing.get((key, part)):
                    self.overlaps.append((self.now, key))
                self._executing[key, part] = self._executing.get((key, part), 0) + 1
                pending = Pending(run.id, run.requested_at, self.now, launched_at=run.launched_at)
                self._record.start(key, part, made[key][part], pending)
        slowest = max((self._durations[key] for key in together), key=lambda one: one.mean)
        seconds = slowest.sample(self._random)
        self._at(self.now + seconds, partial(self._end, run, made, ready_at))

    def _end(
        self,
        run: Run,
        made: Mapping[str, Mapping[str, Data]],
        ready_at: Mapping[str, float | None],
    ) -> None:
        fails = self._random.random() < self.scenario.failure_rate or self._happens(
            self.scenario.faults, made
        )
        nothing = self._happens(self.scenario.nothing_to_make, made)
        for key, parts in made.items():
            for part in parts:
                self._executing[key, part] -= 1
            if fails:
                run.failed[key] = self.now
                self._record.fail(key, parts.keys(), self.now)
            elif nothing:
                run.nothing[key] = self.now
                self._record.find_nothing(key, parts.keys(), parts.values(), self.now)
            else:
                run.ended[key] = self.now
                run.improved[key] = self._record.materialize(
                    key, parts, self._phases(run, key, ready_at[key]), self.now
                )
        self._start_ready(run)
        if run.ended_at < inf:
            del self._launched[run.id]
            self._serve_queue()

    def _happens(self, cases: Iterable[Fault | NothingToMake], keys: Container[str]) -> bool:
        """Return whether one of `cases` is about one of `keys`, now."""
        return any(case.asset in keys and case.begin <= self.now < case.end for case in cases)

    def _phases(self, run: Run, key: str, ready_at: float | None) -> dict[Phase, float]:
        """Return what each phase of `key` took. A run leaves the queue as soon as there is room."""
        launched_at = run.requested_at if run.launched_at is None else run.launched_at
        return measure(
            ready_at=ready_at,
            requested_at=run.requested_at,
            launchable_at=launched_at,
            launched_at=launched_at,
            started_at=run.started[key],
            materialized_at=self.now,
            tick=self.graph.tick(run.location, self._measured_ticks()),
        )


def _promised(graph: Graph) -> Graph:
    """Return `graph`, in which partitions count from the beginning, unless an asset says when."""
    promised = {
        key: replace(asset, promised_from=0.0)
        for key, asset in graph.assets.items()
        if asset.windows and asset.promised_from is None
    }
    return replace(graph, assets={**graph.assets, **promised}) if promised else graph
