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

from freshline.model import SLOTS, AssetPlan, Pending, Snapshot
from freshline.planner.claims import Claim, Urgency, urgency
from freshline.planner.decisions import Decision
from freshline.planner.estimate import MARGIN
from freshline.planner.facts import Facts
from freshline.planner.lineage import ExecutionSet, Lineage

__all__ = ["Room", "hold_back", "priority_of", "room_of", "urgencies_of"]

_INSTANT: Final = 1e-3
"""Seconds: what is closer together happens at the same time."""


def priority_of(plans: Iterable[AssetPlan]) -> int:
    """Return the `dagster/priority` of a run of `plans`: by how many seconds it is late.

    0 means that it must start now, as a run without a priority does; a negative number, that it may
    wait so many seconds. The most urgent asset counts. One without a version must start now.
    """
    return max(-round(asset_plan.slack or 0.0) for asset_plan in plans)


# --- what is taken ---------------------------------------------------------------------------


@dataclass(slots=True)
class _UnderWay:
    """A run that is queued or in progress."""

    end: float
    """When it is expected to end; if it is still queued, when it would if it were launched now."""
    needs: set[str] = field(default_factory=set)
    """What it takes a place of, of what is limited."""
    queued: bool = True


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
        return ({SLOTS, *pools} if keys else set()) & self.limits.keys()


def room_of(lineage: Lineage, facts: Facts, snapshot: Snapshot) -> Room:
    """Return the places that there are, with the runs that take some of them."""
    capacity = snapshot.capacity
    limits = capacity.limits
    if SLOTS in limits:
        limits[SLOTS] -= capacity.others
    room = Room(limits, {})
    return replace(room, runs=_under_way(room, lineage, facts, snapshot)) if limits else room


def _under_way(
    room: Room, lineage: Lineage, facts: Facts, snapshot: Snapshot
) -> dict[str, _UnderWay]:
    runs: dict[str, _UnderWay] = {}
    for key in dict.fromkeys([*facts.assets, *snapshot.assets]):  # inputs first
        state = snapshot.state(key)
        found = [part.pending for part in state.parts if part.pending]
        if state.pending:
            found.append(state.pending)
        for pending in found:
            run = runs.setdefault(pending.run_id, _UnderWay(facts.now))
            run.needs |= room.needs([key], lineage)
            run.queued &= pending.started_at is None and pending.launched_at is None
            if key in facts.assets:
                run.end = max(run.end, _expected_end(key, pending, run, lineage, facts))
    return runs


def _expected_end(
    key: str, pending: Pending, run: _UnderWay, lineage: Lineage, facts: Facts
) -> float:
    """Return when `run`, in which `key` is `pending`, is expected to have made it."""
    stage = facts.assets[key].stage
    if pending.started_at is not None:
        end = pending.started_at + stage.execution.mean
        return facts.now if facts.passed(end) else end
    before = [facts.assets[name].pending for name in lineage.inputs[key]]
    if any(one and one.run_id == pending.run_id for one in before):
        if run.end <= facts.now:
            facts.changes_now()
        return run.end + stage.execution.mean
    if pending.launched_at is None:
        facts.changes_now()
        return facts.now + stage.run.mean
    end = pending.launched_at + stage.run.mean
    return facts.now if facts.passed(end) else end


# --- which runs start earlier ----------------------------------------------------------------


def urgencies_of(
    lineage: Lineage, facts: Facts, claims: Mapping[str, tuple[Claim, ...]], room: Room
) -> dict[str, Urgency]:
    """Return how urgent each asset is, by key, given that places are limited."""
    urgencies = {key: urgency(claims[key], facts.assets[key].paced) for key in facts.assets}
    if room.limits:
        _Backward(lineage, facts, room, urgencies).move()
    return urgencies


class _Places:
    """The places of one kind, slots or those of a pool, until when each is free."""

    def __init__(self, limit: int) -> None:
        self._free = [inf] * limit
        """In order."""

    def latest(self, begin: float, seconds: float) -> float:
        """Return the latest time, until `begin`, from which a place is free for `seconds`.

        If there is none, it is `begin`.
        """
        return min(begin, self._free[-1] - seconds) if self._free else begin

    def take(self, begin: float, end: float) -> None:
        """Take a place from `begin` to `end`: one that is not free for much longer."""
        if self.take_all(end):
            insort(self._free, begin)

    def take_all(self, end: float) -> bool:
        """Take a place from now to `end`. Return whether there was one."""
        if self._free:
            del self._free[min(bisect_left(self._free, end - _INSTANT), len(self._free) - 1)]
            return True
        return False

    def take_earlier(self, begin: float, earlier: float) -> None:
        """Let the run that takes a place from `begin` on take it from `earlier` on."""
        place = bisect_left(self._free, begin)
        if place < len(self._free) and self._free[place] == begin:
            del self._free[place]
            insort(self._free, earlier)


@dataclass(slots=True)
class _Combined:
    """A run that has a place."""

    latest: float
    """When the first of its sets would begin if there were a place for it."""
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
        self._places = {name: _Places(limit) for name, limit in room.limits.items()}
        self._under_way = sorted(room.runs.values(), key=lambda run: run.end)
        self._ends = {keys: self._latest_end(one) for keys, one in self._sets.items()}
        """When a run of each execution set must end at the latest; inf: none is foreseen, -inf: it
        has a place."""
        self._waiting = [(-end, keys) for keys, end in self._ends.items() if end < inf]
        self._runs: dict[object, _Combined] = {}
        """The run that was placed last: of each location, of roots or of others, and by needs."""
        self._together: list[_Combined] = []
        """The runs of several roots."""

    def move(self) -> None:
        """Move the latest starts to earlier times where places are missing."""
        heapq.heapify(self._waiting)
        while self._waiting:
            latest, keys = heapq.heappop(self._waiting)
            if self._ends[keys] == -latest:  # or else it was moved since
                self._ends[keys] = -inf
                self._move(self._sets[keys], -latest)
        for run in self._together:
            for execution_set in run.sets:
                self._start_by(execution_set, run.begin)

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
        seconds = self._seconds(execution_set)
        begin = end - seconds
        self._facts.changes_at(begin)  # a run that should have ended is expected to end now
        while self._under_way and self._under_way[-1].end > begin:
            under_way = self._under_way.pop()
            for name in under_way.needs:
                self._places[name].take_all(under_way.end)
        free = min([self._places[name].latest(begin, seconds) for name in needs], default=begin)
        run, is_short = self._runs.get(kind), free < begin
        tick = self._facts.assets[execution_set.keys[0]].tick
        near = tick if execution_set.feeders or is_short else MARGIN
        if run and abs(run.latest - begin) <= near:
            if not execution_set.feeders:
                self._join(run, execution_set, begin, is_short=is_short)
        else:
            self._runs[kind] = _Combined(begin, free, needs, [execution_set])
            begin = free
            for name in needs:
                self._places[name].take(begin, begin + seconds)
        self._start_by(execution_set, begin)

    def _join(
        self, run: _Combined, execution_set: ExecutionSet, begin: float, *, is_short: bool
    ) -> None:
        """Make the roots of `execution_set` in `run`. If places are short, they start together."""
        if is_short:
            run.sets.append(execution_set)
            if len(run.sets) == 2:
                self._together.append(run)
        if begin < run.begin:
            for name in run.needs:
                self._places[name].take_earlier(run.begin, begin)
            run.begin = begin

    def _start_by(self, execution_set: ExecutionSet, begin: float) -> None:
        """Let `execution_set` start at `begin` at the latest, or now if that has passed."""
        moved = False
        for key in execution_set.keys:
            known = self._urgencies[key]
            latest = max(begin, known.not_before)
            has_passed = self._facts.passed(latest)
            latest = self._facts.now if has_passed else latest
            if latest < known.latest_start - _INSTANT:
                moved = True
                if has_passed:
                    self._facts.changes_now()
                self._urgencies[key] = known._replace(latest_start=latest)
        if moved:
            self._move_inputs(execution_set, begin)

    def _move_inputs(self, execution_set: ExecutionSet, begin: float) -> None:
        """Let the inputs that a run of `execution_set` waits for be there when it begins."""
        for key in execution_set.keys:
            needed = begin - self._facts.assets[key].stage.wait.mean + MARGIN
            for name in self._lineage.inputs[key]:
                source = self._lineage.made_together[name]
                if needed < self._ends[source] < inf and not self._facts.has_unused_version(
                    name, key
                ):
                    self._ends[source] = needed
                    heapq.heappush(self._waiting, (-needed, source))


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
    """Take back those requests in `decisions` for which there is no room before the next tick."""
    if not room.limits:
        return
    free_at = {name: _free_at(name, room, facts.now) for name in room.limits}
    for run in sorted(_wanted(lineage, decisions), key=lambda run: _order(run, decisions)):
        next_tick = facts.now + facts.assets[run.keys[0]].tick
        needs = room.needs(run.keys, lineage)
        full = {name for name in needs if not free_at[name] or free_at[name][0] > next_tick}
        waits = _without_room(run, full, lineage, room)
        for key, lacking in waits.items():
            _take_back(decisions[key], run.part, _why(lacking, room.limits[lacking]))
        going = [key for key in run.keys if key not in waits]
        seconds = _expected_seconds(going, lineage, facts)
        for name in room.needs(going, lineage):
            heapq.heapreplace(free_at[name], free_at[name][0] + seconds)


def _expected_seconds(keys: Collection[str], lineage: Lineage, facts: Facts) -> float:
    """Return the seconds that a run of `keys`, inputs first, is expected to take.

    What reads others of the run begins when these are made: the longest chain decides.
    """
    ends: dict[str, float] = {}
    for key in keys:
        stage = facts.assets[key].stage
        read = (*lineage.inputs[key], *lineage.prerequisites[key])
        ready = [ends[name] for name in read if name in ends]
        ends[key] = max(ready) + stage.execution.mean if ready else stage.run.mean
    return max(ends.values(), default=0.0)


def _free_at(name: str, room: Room, now: float) -> list[float]:
    """Return when each place of a kind is free, as a heap, if what is queued takes them first."""
    runs = [run for run in room.runs.values() if name in run.needs]
    limit = room.limits[name]
    ends = sorted(run.end for run in runs if not run.queued)[-limit:] if limit > 0 else []
    free_at = [now] * (limit - len(ends)) + ends
    for run in runs:
        if run.queued and free_at:
            heapq.heapreplace(free_at, free_at[0] + run.end - now)
    return free_at


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


def _wanted(lineage: Lineage, decisions: Mapping[str, Decision]) -> Iterator[_Wanted]:
    """Yield the runs that would be requested now."""
    runs: dict[object, _Wanted] = {}
    for key, decision in decisions.items():
        if not decision.request:
            continue
        asset = lineage.graph.assets[key]
        alone = lineage.made_together[key] if decision.alone else ()
        kind = asset.location, alone, asset.launched_with
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
        decision.reason, decision.cause = reason, ""
        decision.arrival = inf  # nobody knows when there is room


def _why(lacking: str, limit: int) -> str:
    what = f"a place in the pool {lacking}" if lacking else "a slot"
    return f"waits for {what}: {limit} of {limit} {'is' if limit == 1 else 'are'} taken"
