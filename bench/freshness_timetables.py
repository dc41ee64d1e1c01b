"""The best schedule known for a graph of steady durations, and a bound that none can beat.

Nothing here knows freshline's planner. A *timetable* runs each asset in some rounds of a common
length. All that runs in a round starts at the same offset in each: a root when `best_timetable`
has found best, everything else as soon as its inputs are there. A target that need not be in
every round is in every second, third, ... one; its inputs run in the rounds in which one of their
targets does.

That is joint replenishment: items with a minor cost each share a major one. Periods that are a
base period times a power of two cost at most 2% more than the optimum if the base is free
(R. Roundy, "98%-effective integer-ratio lot-sizing for one-warehouse multi-retailer systems",
Management Science 31, 1985; P. Jackson, W. Maxwell and J. Muckstadt, "The joint replenishment
problem with a powers-of-two restriction", IIE Transactions 17, 1985). Here the periods are limited
by the maximum lags instead of costs of storing, and more multiples than powers of two are tried.

The phases are found by hill climbing: all roots as late as their consumers allow, then one root
after the other earlier or later, as long as that makes the best periods cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from math import ceil, floor

from freshline.simulate import Request, Scenario, World

__all__ = ["OnTimetable", "Timetable", "best_timetable", "bound"]

CYCLES = (1, 2, 4, 8, 12, 16, 24, 36, 60)
"""After so many rounds a timetable repeats. A period is a divisor of one of them, in rounds."""
ROUNDS = 6
"""The tightest target of a graph is made at least once in so many rounds."""
SHIFTS = (1, -1, 2, -2, 4, -4, 8, -8, 16, -16, 32, -32)
"""In ticks: how far the phase of a root is moved at a time."""


def bound(scenario: Scenario) -> float:
    """Return the fewest materializations an hour without a late target, as a lower bound.

    Two versions of a target are at most as far apart as its maximum lag less its longest path,
    even if all roots arrive together and no run waits for a tick or for another. A run is launched
    when its inputs are there, unless it makes one of them. An asset is made at least as often as
    each target downstream of it.
    """
    graph = _Needed(scenario)
    longest: dict[str, float] = {}
    rates = dict.fromkeys(graph.order, 0.0)
    for key in graph.order:
        inputs = graph.inputs[key]
        launch = 0.0 if any(graph.is_near(dep, key) for dep in inputs) else graph.launch
        longest[key] = graph.seconds[key] + max(
            (longest[dep] + launch for dep in inputs), default=0.0
        )
    for target, limit in graph.limits.items():
        for key in graph.upstream[target]:
            rates[key] = max(rates[key], 3600.0 / (limit - longest[target]))
    return sum(rates.values())


@dataclass(frozen=True)
class Timetable:
    """When each asset is requested: in which rounds, and how long after a round's beginning."""

    round: float
    """Seconds from the beginning of a round to that of the next."""
    cycle: int
    """After so many rounds it repeats."""
    offsets: Mapping[str, float]
    """Seconds from the beginning of a round to the request of each asset. Assets of one location
    that have the same are made in one run."""
    rounds: Mapping[str, int]
    """Bit `i` is set if the asset is made in round `i` of a cycle."""
    lags: Mapping[str, float]
    """The largest lag of each target, in seconds."""

    @property
    def cost(self) -> float:
        """Return materializations an hour."""
        made = sum(rounds.bit_count() for rounds in self.rounds.values())
        return made * 3600.0 / (self.cycle * self.round)


class OnTimetable:
    """Requests assets by timetables; each asset is in one of them."""

    def __init__(self, timetables: Iterable[Timetable]) -> None:
        self._tables = tuple(timetables)

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        """Return what `location` requests at `world.now`."""
        runs: dict[tuple[int, float], list[str]] = {}
        for number, table in enumerate(self._tables):
            for key, offset in table.offsets.items():
                if world.graph.assets[key].location != location:
                    continue
                begun = (world.now - offset) / table.round
                which = round(begun)
                if which < 0 or abs(begun - which) * table.round > 1e-6:
                    continue
                if table.rounds[key] >> (which % table.cycle) & 1:
                    runs.setdefault((number, offset), []).append(key)
        return [Request(tuple(keys)) for keys in runs.values()]


def best_timetable(scenario: Scenario) -> tuple[Timetable, ...] | None:
    """Return the cheapest timetables found that make no target late, or None.

    There is one for each part of the graph that shares nothing with the rest.
    """
    found = [_Search(_Needed(scenario, part)).best() for part in _parts(_Needed(scenario))]
    tables = tuple(table for table in found if table)
    return tables if len(tables) == len(found) else None


def _parts(graph: _Needed) -> Iterator[frozenset[str]]:
    """Yield the targets of each part of the graph that shares no asset with the others."""
    waiting = dict(graph.upstream)
    while waiting:
        target, needed = waiting.popitem()
        targets, assets = {target}, set(needed)
        while more := {key for key, others in waiting.items() if others & assets}:
            targets |= more
            for key in more:
                assets |= waiting.pop(key)
        yield frozenset(targets)


class _Needed:
    """The assets that some of the targets need, inputs first."""

    def __init__(self, scenario: Scenario, targets: frozenset[str] | None = None) -> None:
        assets = scenario.graph.assets
        self.launch = scenario.launch.mean
        self.location = {key: asset.location for key, asset in assets.items()}
        self.tick = max(scenario.graph.tick(name) for name in self.location.values())
        self.first_tick = {
            key: scenario.first_ticks.get(name, 0.0) for key, name in self.location.items()
        }
        self.limits = {
            key: asset.policy.minutes * 60.0
            for key, asset in assets.items()
            if asset.policy and (targets is None or key in targets)
        }
        self.inputs = {
            key: tuple(dep for dep in asset.deps if dep in assets) for key, asset in assets.items()
        }
        sorted_keys = tuple(TopologicalSorter(self.inputs).static_order())
        above: dict[str, frozenset[str]] = {}
        for key in sorted_keys:
            above[key] = frozenset({key}.union(*(above[dep] for dep in self.inputs[key])))
        self.upstream = {target: above[target] for target in self.limits}
        needed = frozenset[str]().union(*self.upstream.values())
        self.order = tuple(key for key in sorted_keys if key in needed)
        self.seconds = {key: scenario.durations[key].mean for key in self.order}
        self.roots = tuple(key for key in self.order if not self.inputs[key])

    def is_near(self, one: str, other: str) -> bool:
        """Return whether both are in one location, so that one run can make both."""
        return self.location[one] == self.location[other]

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Return who reads each asset."""
        return {
            key: tuple(other for other in self.order if key in self.inputs[other])
            for key in self.order
        }

    def tick_from(self, key: str, at: float) -> float:
        """Return the first tick of the location of `key` that is not before `at`."""
        first = self.first_tick[key]
        return first + ceil((at - first) / self.tick - 1e-9) * self.tick

    def tick_until(self, key: str, at: float) -> float:
        """Return the last tick of the location of `key` that is not after `at`."""
        first = self.first_tick[key]
        return first + floor((at - first) / self.tick + 1e-9) * self.tick


@dataclass(frozen=True)
class _Round:
    """One round in which every asset is made; seconds from its beginning."""

    requested: dict[str, float]
    begun: dict[str, float]
    ended: dict[str, float]
    read: dict[str, float]
    """The data time of each version."""


class _Search:
    """Looks for the cheapest timetable of one part of the graph."""

    def __init__(self, graph: _Needed) -> None:
        self._graph = graph

    def best(self) -> Timetable | None:
        """Return the cheapest timetable found."""
        graph = self._graph
        starts = [dict.fromkeys(graph.roots, 0)]
        starts.append(self._as_late_as_possible(starts[0]))
        found = [self._climb(phases) for phases in starts]
        return min((table for table in found if table), key=lambda table: table.cost, default=None)

    def _climb(self, phases: dict[str, int]) -> Timetable | None:
        """Return the cheapest timetable that moving one root after the other leads to."""
        best = self._cheapest(phases)
        improved = len(self._graph.roots) > 1
        while improved:
            improved = False
            for root in self._graph.roots:
                for shift in SHIFTS:
                    moved = {**phases, root: phases[root] + shift}
                    table = self._cheapest(moved)
                    if table and (best is None or table.cost < best.cost - 1e-9):
                        phases, best, improved = moved, table, True
        return best

    # --- phases -----------------------------------------------------------------------------

    def _play(self, phases: Mapping[str, int]) -> _Round:
        """Return a round in which the roots are requested so many ticks after its beginning."""
        graph = self._graph
        requested: dict[str, float] = {}
        begun: dict[str, float] = {}
        ended: dict[str, float] = {}
        read: dict[str, float] = {}
        for key in graph.order:
            inputs = graph.inputs[key]
            there = max((ended[dep] for dep in inputs), default=0.0)
            last = [dep for dep in inputs if ended[dep] > there - 1e-6]
            if not inputs:
                requested[key] = graph.first_tick[key] + phases[key] * graph.tick
                begun[key] = requested[key] + graph.launch
            elif len(last) == 1 and graph.is_near(last[0], key):  # in the run of its last input
                requested[key], begun[key] = requested[last[0]], there
            else:
                requested[key] = graph.tick_from(key, there)
                begun[key] = requested[key] + graph.launch
            ended[key] = begun[key] + graph.seconds[key]
            read[key] = min((read[dep] for dep in inputs), default=begun[key])
        return _Round(requested, begun, ended, read)

    def _as_late_as_possible(self, phases: Mapping[str, int]) -> dict[str, int]:
        """Return phases with which all that nobody reads ends as late as the last of them."""
        graph, played = self._graph, self._play(phases)
        end = max(played.ended.values())
        latest: dict[str, float] = {}  # when each asset is requested, or begins in another's run
        for key in reversed(graph.order):
            ends = min((latest[other] for other in graph.consumers[key]), default=end)
            begins = ends - graph.seconds[key]
            in_a_run = bool(graph.inputs[key]) and played.begun[key] > (
                played.requested[key] + graph.launch + 1e-6
            )
            latest[key] = begins if in_a_run else graph.tick_until(key, begins - graph.launch)
        return {
            key: round((latest[key] - graph.first_tick[key]) / graph.tick) for key in graph.roots
        }

    # --- periods ----------------------------------------------------------------------------

    def _cheapest(self, phases: Mapping[str, int]) -> Timetable | None:
        """Return the cheapest timetable with these phases."""
        graph, played = self._graph, self._play(phases)
        takes = {target: played.ended[target] - played.read[target] for target in graph.limits}
        room = {target: limit - takes[target] for target, limit in graph.limits.items()}
        tightest = min(room.values())
        best: tuple[float, float, int, dict[str, int]] | None = None
        for length in self._lengths(room):
            for cycle in CYCLES:
                if cycle > 1 and cycle * length > 2 * max(room.values()):
                    break
                if length > tightest:
                    continue
                rounds = self._rounds(room, length, cycle)
                made = sum(each.bit_count() for each in rounds.values())
                cost = made / (cycle * length)
                if (best is None or cost < best[0] - 1e-12) and self._has_room(
                    played, rounds, length, cycle
                ):
                    best = cost, length, cycle, rounds
        if best is None:
            return None
        _, length, cycle, rounds = best
        return Timetable(
            length,
            cycle,
            played.requested,
            rounds,
            {
                target: takes[target] + _gaps(rounds[target], cycle)[1] * length
                for target in graph.limits
            },
        )

    def _lengths(self, room: Mapping[str, float]) -> list[float]:
        """Return how long a round could be, in seconds; whole ticks."""
        tick = self._graph.tick
        lengths = {
            floor(seconds / parts / tick + 1e-9) * tick
            for seconds in room.values()
            for parts in range(1, ROUNDS + 1)
        }
        return sorted(length for length in lengths if length > 0)

    def _rounds(self, room: Mapping[str, float], length: float, cycle: int) -> dict[str, int]:
        """Return the rounds of a cycle in which each asset is made: as few as its targets allow."""
        rounds = dict.fromkeys(self._graph.order, 0)
        for target, seconds in room.items():
            most = floor(seconds / length + 1e-9)
            every = max(each for each in range(1, cycle + 1) if cycle % each == 0 and each <= most)
            which = sum(1 << number for number in range(0, cycle, every))
            for key in self._graph.upstream[target]:
                rounds[key] |= which
        return rounds

    def _has_room(
        self, played: _Round, rounds: Mapping[str, int], length: float, cycle: int
    ) -> bool:
        """Return whether each run of an asset ends before the next one is requested."""
        return all(
            played.ended[key] - played.requested[key]
            <= _gaps(rounds[key], cycle)[0] * length + 1e-6
            for key in self._graph.order
        )


def _gaps(rounds: int, cycle: int) -> tuple[int, int]:
    """Return how many rounds two runs are apart, at least and at most."""
    which = [number for number in range(cycle) if rounds >> number & 1]
    following = [*which[1:], which[0] + cycle]
    apart = [later - number for number, later in zip(which, following, strict=True)]
    return min(apart), max(apart)
