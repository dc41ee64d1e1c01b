"""What limited slots and pools mean for starts: which runs start earlier, and which must wait.

A run takes a slot, and a place in each pool of its assets, until it ends. Waiting for these is no
duration of an asset: how much room there is follows from the limits and from all other runs.

- Where more runs would be under way at once than there is room for, some start earlier: their
  latest starts are worked out from the last to the first, as if each took its mean duration, and
  a little longer.
- No more is requested than there is room for. What is most urgent comes first, in all locations.
  The rest waits in the plan and not in the queue, where it could no longer change its mind.

Without limits nothing of this is done.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from freshline.model import AssetPlan, Pending, Snapshot
from freshline.planner.claims import Claim, Urgency, urgency
from freshline.planner.decisions import Decision
from freshline.planner.estimate import MARGIN
from freshline.planner.facts import Facts
from freshline.planner.lineage import ExecutionSet, Lineage

__all__ = ["Room", "hold_back", "priority_of", "room_of", "urgencies_of"]

_SLOT: Final = ""
"""The slots of the run queue, among the pools."""


def priority_of(plans: Iterable[AssetPlan]) -> int:
    """Return the `dagster/priority` of a run of `plans`: by how many seconds it is late.

    0 means that it must start now; a negative number, that it may wait so many seconds. The most
    urgent asset counts. One without a version must start now.
    """
    return max(-round(asset_plan.slack or 0.0) for asset_plan in plans)


# --- what is taken ---------------------------------------------------------------------------


@dataclass(slots=True)
class _UnderWay:
    """A run that is queued or in progress."""

    needs: set[str] = field(default_factory=set)
    """What it takes a place of, of what is limited."""
    end: float = 0.0
    """When it is expected to end."""


@dataclass(frozen=True, slots=True)
class Room:
    """The places that there are, and the runs that have taken some of them."""

    limits: Mapping[str, int]
    """How many places there are of each kind that is limited: slots, and pools."""
    runs: Mapping[str, _UnderWay]
    """By run id."""

    def needs(self, keys: Collection[str], lineage: Lineage) -> set[str]:
        """Return what a run of `keys` takes a place of, of what is limited."""
        pools = {pool for key in keys for pool in lineage.graph.assets[key].pools}
        return ({_SLOT, *pools} if keys else set()) & self.limits.keys()


def room_of(lineage: Lineage, facts: Facts, snapshot: Snapshot) -> Room:
    """Return the places that there are, with the runs that take some of them."""
    capacity = snapshot.capacity
    limits = dict(capacity.pools)
    if capacity.slots is not None:
        limits[_SLOT] = capacity.slots - capacity.others
    room = Room(limits, {})
    return replace(room, runs=_under_way(room, lineage, facts, snapshot)) if limits else room


def _under_way(
    room: Room, lineage: Lineage, facts: Facts, snapshot: Snapshot
) -> dict[str, _UnderWay]:
    runs: dict[str, _UnderWay] = {}
    for key, state in snapshot.assets.items():
        found = [part.pending for part in state.parts if part.pending]
        if state.pending:
            found.append(state.pending)
        for pending in found:
            run = runs.setdefault(pending.run_id, _UnderWay())
            run.needs |= room.needs([key], lineage)
            run.end = max(run.end, _expected_end(key, pending, facts))
    return runs


def _expected_end(key: str, pending: Pending, facts: Facts) -> float:
    """Return when the run `pending` is expected to have made `key`."""
    asset = facts.assets.get(key)
    if asset is None:
        return facts.now
    if pending.started_at is not None:
        return max(facts.now, pending.started_at + asset.stage.execution.mean)
    return max(facts.now, (pending.launched_at or facts.now) + asset.stage.run.mean)


# --- which runs start earlier ----------------------------------------------------------------


def urgencies_of(
    lineage: Lineage, facts: Facts, claims: Mapping[str, tuple[Claim, ...]], room: Room
) -> dict[str, Urgency]:
    """Return how urgent each asset is, by key, given that places are limited."""
    urgencies = {key: urgency(claims[key], facts.assets[key].paced) for key in facts.assets}
    if room.limits:
        _Backward(lineage, facts, room, urgencies).move()
    return urgencies


@dataclass(slots=True)
class _Combined:
    """A run that has a place."""

    begin: float
    needs: AbstractSet[str]
    sets: list[ExecutionSet]


class _Backward:
    """Finds a place for each next run, from the last to the first, each as late as it may be.

    One that finds no place then starts earlier, and so does what is upstream of it. What is due at
    about the same time in one location goes into one run. So roots that find no place may start
    together, up to a tick earlier. Others start when their inputs are there: those within a tick
    are taken to be in one run.
    """

    def __init__(
        self, lineage: Lineage, facts: Facts, room: Room, urgencies: dict[str, Urgency]
    ) -> None:
        self._lineage = lineage
        self._facts = facts
        self._room = room
        self._urgencies = urgencies
        self._sets = {one.keys: one for one in facts.execution_sets}
        self._free = {name: [inf] * limit for name, limit in room.limits.items()}
        """Until when each place is free, in order."""
        self._ends = {keys: self._latest_end(one) for keys, one in self._sets.items()}
        """When a run of each execution set must end at the latest; inf: none is foreseen, -inf: it
        has a place."""
        self._waiting = [(-end, keys) for keys, end in self._ends.items() if end < inf]
        self._runs: dict[object, _Combined] = {}
        """The run that was placed last: of each location, of roots or of others, and by needs."""

    def move(self) -> None:
        """Move the latest starts to earlier times where places are missing."""
        runs = sorted(self._room.runs.values(), key=lambda run: run.end)
        heapq.heapify(self._waiting)
        while self._waiting:
            latest, keys = heapq.heappop(self._waiting)
            while runs and runs[-1].end >= -latest:
                run = runs.pop()
                self._take(run.needs, run.end, -inf)
            if self._ends[keys] == -latest:  # or else it was moved since
                self._ends[keys] = -inf
                self._move(self._sets[keys], -latest)

    def _latest_end(self, execution_set: ExecutionSet) -> float:
        if self._facts.assets[execution_set.keys[0]].pending:
            return inf
        start = min(self._urgencies[key].latest_start for key in execution_set.keys)
        return start + self._seconds(execution_set) if start > -inf else inf

    def _seconds(self, execution_set: ExecutionSet) -> float:
        """Return how long a run takes its places; there is no run in the very same second."""
        runs = [self._facts.assets[key].stage.run.mean for key in execution_set.keys]
        return max(runs) + MARGIN

    def _move(self, execution_set: ExecutionSet, end: float) -> None:
        """Find a place for a run of `execution_set` that ends at `end` at the latest."""
        needs = self._room.needs(execution_set.keys, self._lineage)
        kind = execution_set.location, execution_set.feeders == 0, frozenset(needs)
        begin = end - self._seconds(execution_set)
        run = self._runs.get(kind)
        free = min([end, *(self._free[name][-1] for name in needs if self._free[name])])
        near = execution_set.tick if execution_set.feeders or free < end else MARGIN
        if run and abs(run.begin - begin) <= near:
            self._join(run, execution_set, begin)
        else:
            begin -= end - free
            self._take(needs, free, begin)
            self._runs[kind] = _Combined(begin, needs, [execution_set])
        self._start_by(execution_set, begin)

    def _join(self, run: _Combined, execution_set: ExecutionSet, begin: float) -> None:
        """Make `execution_set` in `run`. Roots are only in one run if they start together."""
        run.sets.append(execution_set)
        if execution_set.feeders:
            return
        if begin < run.begin:
            for name in run.needs:
                if run.begin in self._free[name]:
                    self._free[name].remove(run.begin)
                    insort(self._free[name], begin)
            run.begin = begin
        for one in run.sets:
            self._start_by(one, run.begin)

    def _start_by(self, execution_set: ExecutionSet, begin: float) -> None:
        """Let `execution_set` start at `begin` at the latest, or now if that has passed."""
        moved = False
        for key in execution_set.keys:
            known = self._urgencies[key]
            latest = max(begin, min(known.latest_start, self._facts.now), known.not_before)
            if latest < known.latest_start:
                moved = True
                self._urgencies[key] = known._replace(latest_start=latest)
        if moved:
            self._move_inputs(execution_set, begin)

    def _move_inputs(self, execution_set: ExecutionSet, begin: float) -> None:
        """Let the inputs that a run of `execution_set` waits for be there when it begins."""
        for key in execution_set.keys:
            needed = begin - self._facts.assets[key].stage.wait.mean
            for name in self._lineage.inputs[key]:
                source = self._lineage.made_together[name]
                if needed < self._ends[source] < inf and not self._facts.has_unused_version(
                    name, key
                ):
                    self._ends[source] = needed
                    heapq.heappush(self._waiting, (-needed, source))

    def _take(self, needs: Iterable[str], end: float, begin: float) -> None:
        """Take the places that are free until `end`, or until shortly after it, from `begin` on."""
        for name in needs:
            free = self._free[name]
            if free:
                free.pop(min(bisect_left(free, end), len(free) - 1))
                insort(free, begin)


# --- which requests wait ---------------------------------------------------------------------


@dataclass(slots=True)
class _Wanted:
    """A run that would be requested now."""

    keys: list[str] = field(default_factory=list)
    part: str = ""
    """The only partition that it makes; "": it has none, or makes a range of them."""


def hold_back(
    lineage: Lineage, facts: Facts, decisions: Mapping[str, Decision], room: Room
) -> None:
    """Take back those requests in `decisions` for which there is no room."""
    if not room.limits:
        return
    left = _places_left(room, facts)
    for run in sorted(_wanted(lineage, decisions), key=lambda run: _order(run, decisions)):
        full = {name for name in room.needs(run.keys, lineage) if left[name] <= 0}
        waits = _without_room(run, full, lineage, room)
        for key, lacking in waits.items():
            _take_back(decisions[key], run.part, _why(lacking, room.limits[lacking]))
        for name in room.needs(set(run.keys) - waits.keys(), lineage):
            left[name] -= 1


def _without_room(
    run: _Wanted, full: AbstractSet[str], lineage: Lineage, room: Room
) -> dict[str, str]:
    """Return which assets of `run` lack a place, and of what; the run can do without them.

    An asset also waits if `run` would have made one of its inputs, and does not.
    """
    waits: dict[str, str] = {}
    for key in run.keys:  # inputs first
        together = lineage.made_together[key]
        lacking = sorted(room.needs(together, lineage) & full)
        read = (*lineage.inputs[key], *lineage.prerequisites[key])
        lacking += [waits[name] for name in read if name in waits]
        if lacking:
            waits[key] = lacking[0]
    return waits


def _places_left(room: Room, facts: Facts) -> dict[str, int]:
    """Return how many runs may be requested that need a place of each kind.

    A run that ends before the next tick makes room for one that waits in the queue until then.
    """
    soon = facts.now + min([one.tick for one in facts.execution_sets], default=0.0)
    left = dict(room.limits)
    for run in room.runs.values():
        for name in run.needs:
            left[name] -= run.end > soon
    return left


def _wanted(lineage: Lineage, decisions: Mapping[str, Decision]) -> Iterator[_Wanted]:
    """Yield the runs that would be requested now."""
    runs: dict[object, _Wanted] = {}
    for key, decision in decisions.items():
        if not decision.request:
            continue
        asset = lineage.graph.assets[key]
        alone = lineage.made_together[key] if decision.alone else ()
        windows = asset.windows and replace(asset.windows, shift=0)
        kind = asset.location, alone, windows, asset.keys
        for part in ("",) if decision.together or not decision.parts else decision.parts:
            runs.setdefault((kind, part), _Wanted(part=part)).keys.append(key)
    yield from runs.values()


def _order(run: _Wanted, decisions: Mapping[str, Decision]) -> tuple[float, float]:
    """Return a key that is lower for a more urgent run: of those as urgent, for less work ahead."""
    urgencies = [decisions[key].urgency for key in run.keys]
    return min(
        (one.latest_start, one.claim.path.mean) if one.claim else (-inf, 0.0) for one in urgencies
    )


def _take_back(decision: Decision, part: str, reason: str) -> None:
    decision.parts = tuple(name for name in decision.parts if name != part) if part else ()
    if not decision.parts:
        decision.request = False
        decision.reason = reason


def _why(lacking: str, limit: int) -> str:
    what = f"a place in the pool {lacking}" if lacking else "a slot"
    return f"waits for {what}: {limit} of {limit} {'is' if limit == 1 else 'are'} taken"
