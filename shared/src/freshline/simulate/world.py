"""A workspace on a virtual clock: runs take random durations, may fail, and leave a history.

The scheduler under test sees what a real one sees, a `Snapshot`, and nothing else. Time is
virtual, in epoch seconds from 0; a simulated day takes seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import exp, inf
from random import Random
from typing import Protocol

from freshline.model import (
    NEVER_RUN,
    AssetState,
    Graph,
    Pending,
    Phase,
    Plan,
    Snapshot,
    Version,
    data_time_of,
)
from freshline.planner import lineage_of, plan
from freshline.planner.moments import measure, remember

__all__ = [
    "ByPlan",
    "Duration",
    "Fault",
    "Outage",
    "Run",
    "Scenario",
    "Scheduler",
    "World",
    "simulate",
]


# --- what is simulated -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Duration:
    """A lognormal distribution: its mean in seconds, and the sigma of its logarithm.

    With a sigma of 0 the duration is always the same.
    """

    mean: float
    sigma: float = 0.0

    def sample(self, random: Random) -> float:
        """Return a random duration in seconds."""
        if self.sigma == 0.0:
            return self.mean
        return self.mean * exp(self.sigma * random.gauss(0.0, 1.0) - self.sigma**2 / 2)


@dataclass(frozen=True, slots=True)
class Outage:
    """A location's server is down: it does not tick. Runs in progress end as usual."""

    location: str
    begin: float
    end: float = inf


@dataclass(frozen=True, slots=True)
class Fault:
    """Every run of `asset` that ends between `begin` and `end` fails."""

    asset: str
    begin: float
    end: float = inf


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a workspace; every time is in seconds after the beginning."""

    graph: Graph
    durations: Mapping[str, Duration]
    """How long each asset executes; an execution set takes what its slowest asset takes."""
    launch: Duration = Duration(0.0)
    """From the request of a run until its first step starts."""
    first_ticks: Mapping[str, float] = field(default_factory=dict)
    """When each location ticks for the first time; 0 by default."""
    outages: tuple[Outage, ...] = ()
    faults: tuple[Fault, ...] = ()
    failure_rate: float = 0.0
    """The share of all executions that fail at random."""
    by_hand: tuple[tuple[float, str], ...] = ()
    """Runs that somebody starts: when, and of which asset."""
    deployments: tuple[tuple[float, Graph], ...] = ()
    """When a location is reloaded, and the graph from then on."""
    seed: int = 0


@dataclass(slots=True)
class Run:
    """One run and what became of it."""

    id: str
    location: str
    keys: tuple[str, ...]
    """Inputs first."""
    requested_at: float
    launched_at: float
    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    data_times: dict[str, float | None] = field(default_factory=dict)
    """The data time of each asset that it makes; None: unknown."""
    improved: dict[str, bool] = field(default_factory=dict)
    """Whether the data of each asset that it delivered is newer than before."""


class Scheduler(Protocol):
    """Decides for one location at a time what to run."""

    def __call__(self, world: World, location: str) -> Sequence[tuple[str, ...]]:
        """Return what `location` requests at `world.now`: a tuple of keys for each run."""


class ByPlan:
    """Requests what freshline's planner says, as the sensor of each location does."""

    def __init__(self) -> None:
        # All locations make the same plan at the same time and in the same state: make it once.
        self._planned: tuple[float, int] | None = None
        self._runs: dict[str, list[tuple[str, ...]]] = {}

    def __call__(self, world: World, location: str) -> Sequence[tuple[str, ...]]:
        state = (world.now, world.changes)
        if self._planned != state:
            self._planned = state
            self._runs = self._requested(world)
        return self._runs.get(location, [])

    def _requested(self, world: World) -> dict[str, list[tuple[str, ...]]]:
        together: dict[tuple[str, str], list[str]] = {}
        for key, asset_plan in world.plan().assets.items():
            if asset_plan.request:
                owner = world.graph.assets[key].location
                together.setdefault((owner, asset_plan.run), []).append(key)
        runs: dict[str, list[tuple[str, ...]]] = {}
        for (location, _), keys in together.items():
            runs.setdefault(location, []).append(tuple(keys))
        return runs


def simulate(scenario: Scenario, until: float, scheduler: Scheduler | None = None) -> World:
    """Return the world of `scenario` at `until` (seconds after the beginning)."""
    world = World(scenario, scheduler or ByPlan())
    world.advance(until)
    return world


# --- the world ----------------------------------------------------------------------------


class World:
    """Where the simulation stands, and what has happened so far."""

    def __init__(self, scenario: Scenario, scheduler: Scheduler) -> None:
        self.scenario = scenario
        self.lineage = lineage_of(scenario.graph)
        self.now = 0.0
        self.changes = 0
        """Goes up with every change of a state or of the graph."""
        self.states: dict[str, AssetState] = {}
        self.seen: dict[str, float] = {}
        self.runs: list[Run] = []
        self.versions: dict[str, list[tuple[float, float | None]]] = {}
        """For each asset: when each version appeared, and its data time."""
        self.overlaps: list[tuple[float, str]] = []
        """When an asset was started while it was running, and which; it should stay empty."""
        self._scheduler = scheduler
        self._random = Random(scenario.seed)  # noqa: S311  # nothing secret
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._order = count()
        self._version_ids = count(1)
        self._executing: dict[str, int] = {}
        for location in sorted({asset.location for asset in self.graph.assets.values()}):
            self._at(scenario.first_ticks.get(location, 0.0), partial(self._tick, location), rank=1)
        for time, key in scenario.by_hand:
            self._at(time, partial(self._start_by_hand, key))
        for time, graph in scenario.deployments:
            self._at(time, partial(self._deploy, graph), rank=-1)

    @property
    def graph(self) -> Graph:
        """Return the graph that is deployed now."""
        return self.lineage.graph

    def snapshot(self) -> Snapshot:
        """Return what a history would say now."""
        return Snapshot(dict(self.states), dict(self.seen))

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
        runs do (rank 0), then ticks (rank 1).
        """
        heapq.heappush(self._events, (time, rank, next(self._order), action))

    # --- locations ------------------------------------------------------------------------

    def _tick(self, location: str) -> None:
        interval = self.graph.tick(location)
        self._at(self.now + interval, partial(self._tick, location), rank=1)
        if any(
            outage.location == location and outage.begin <= self.now < outage.end
            for outage in self.scenario.outages
        ):
            return
        self.seen[location] = self.now
        for keys in self._scheduler(self, location):
            self.start_run(keys)

    def _deploy(self, graph: Graph) -> None:
        self.lineage = lineage_of(graph)
        self.changes += 1

    def _start_by_hand(self, key: str) -> None:
        self.start_run(self.lineage.made_together[key])

    # --- runs ------------------------------------------------------------------------------

    def start_run(self, keys: Sequence[str]) -> Run:
        """Request a run of `keys`, all of one location, now."""
        run = Run(
            id=f"run-{len(self.runs) + 1}",
            location=self.graph.assets[keys[0]].location,
            keys=tuple(keys),
            requested_at=self.now,
            launched_at=self.now,
        )
        self.runs.append(run)
        pending = Pending(run.id, self.now)
        for key in run.keys:
            self._update(key, pending=pending, last_run_id=run.id)
        self._at(
            self.now + self.scenario.launch.sample(self._random), partial(self._start_ready, run)
        )
        return run

    def _start_ready(self, run: Run) -> None:
        """Start every execution set of `run` whose inputs in the same run are there."""
        ended = run.ended.keys() | run.failed.keys()
        for key in run.keys:
            if key in run.started or key in ended:
                continue
            together = tuple(
                other for other in self.lineage.made_together[key] if other in run.keys
            )
            inputs = {dep for other in together for dep in self.graph.assets[other].deps}
            within = (inputs - set(together)) & set(run.keys)
            if within & run.failed.keys():
                for other in together:
                    run.failed[other] = self.now
                    self._update(other, pending=None)
            elif within <= run.ended.keys():
                self._start(run, together)

    def _start(self, run: Run, together: tuple[str, ...]) -> None:
        ready_at: dict[str, float | None] = {}
        for key in together:
            if self._executing.get(key):
                self.overlaps.append((self.now, key))
            self._executing[key] = self._executing.get(key, 0) + 1
            inputs = self._read_inputs(key)
            data_time = data_time_of(_data_time(version) for version in inputs)
            ready_at[key] = max((version.at for version in inputs if version), default=None)
            run.started[key] = self.now
            run.data_times[key] = data_time if inputs else self._data_time_of_root(key)
            self._update(
                key, pending=Pending(run.id, run.requested_at, self.now, run.data_times[key])
            )
        slowest = max((self.scenario.durations[key] for key in together), key=lambda one: one.mean)
        seconds = slowest.sample(self._random)
        self._at(self.now + seconds, partial(self._end, run, together, ready_at))

    def _data_time_of_root(self, key: str) -> float:
        """Return the data time of a version that is made now; a static asset's never ages."""
        return inf if self.graph.assets[key].static else self.now

    def _read_inputs(self, key: str) -> list[Version | None]:
        """Return the version of each input that is read now; None: the input has none."""
        together = self.lineage.made_together[key]
        versions: list[Version | None] = []
        waiting = list(self.graph.assets[key].deps)
        seen = set(waiting)
        while waiting:
            dep = waiting.pop()
            if dep in together:
                more = set(self.graph.assets[dep].deps) - seen
                seen |= more
                waiting.extend(more)
            elif dep in self.graph.assets and dep not in self.graph.undated:
                versions.append(self.states.get(dep, NEVER_RUN).version)
        return versions

    def _end(
        self, run: Run, together: tuple[str, ...], ready_at: Mapping[str, float | None]
    ) -> None:
        fails = self._random.random() < self.scenario.failure_rate or any(
            fault.asset in together and fault.begin <= self.now < fault.end
            for fault in self.scenario.faults
        )
        for key in together:
            self._executing[key] -= 1
            if fails:
                self._fail(run, key)
            else:
                self._materialize(run, key, ready_at[key])
        self._start_ready(run)

    def _fail(self, run: Run, key: str) -> None:
        run.failed[key] = self.now
        state = self.states[key]
        self._update(
            key,
            pending=None,
            failures=state.failures + 1,
            failing_since=self.now if state.failing_since is None else state.failing_since,
            failed_at=self.now,
            error="simulated failure",
        )

    def _materialize(self, run: Run, key: str, ready_at: float | None) -> None:
        run.ended[key] = self.now
        state = self.states[key]
        data_time = run.data_times[key]
        before = state.version.data_time if state.version else None
        run.improved[key] = data_time is not None and (before is None or data_time > before)
        phases: dict[Phase, float] = measure(
            ready_at=ready_at,
            requested_at=run.requested_at,
            launched_at=run.launched_at,
            started_at=run.started[key],
            materialized_at=self.now,
            tick=self.graph.tick(run.location),
        )
        self._update(
            key,
            version=Version(next(self._version_ids), self.now, data_time),
            pending=None,
            failures=0,
            failing_since=None,
            failed_at=None,
            error=None,
            durations=remember(state.durations, phases),
        )
        self.versions.setdefault(key, []).append((self.now, data_time))

    def _update(self, key: str, **changes: object) -> None:
        self.states[key] = replace(self.states.get(key, NEVER_RUN), **changes)  # type: ignore[arg-type]
        self.changes += 1


def _data_time(version: Version | None) -> float | None:
    return version.data_time if version else None
