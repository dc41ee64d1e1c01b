"""What is so at this moment, for each asset that some policy needs.

One pass over the lineage, inputs first. Nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from freshline.model import HEARTBEAT, AssetState, Pending, Snapshot
from freshline.planner.deadlines import deadline
from freshline.planner.estimate import Span, Stage, allowance, stage_of
from freshline.planner.lineage import Lineage, Unit
from freshline.policy import MaxLag

__all__ = ["Facts", "Hold", "Route", "facts_of"]

SILENT_AFTER: Final = 3 * HEARTBEAT
"""Seconds without a word after which a location counts as down, or three of its ticks if that is
longer."""

RETRY_FIRST: Final = 30.0
RETRY_CEILING: Final = 900.0
"""A failed asset is tried again after 30 s, 60 s, 120 s ... 15 min at most."""

_NEVER_RUN: Final = AssetState()


class Hold(NamedTuple):
    """Why an asset cannot have a newer version for now, whatever is requested."""

    location: str
    asset: str
    phase: str
    """"failing", "silent", "unscheduled" or "unknown"."""
    since: float | None
    message: str


class Route(NamedTuple):
    """The slowest way from a root to an asset."""

    path: Span
    """From the moment the root begins to read until the asset is materialized."""
    slowest: Span
    """The longest stage on any way: no version can follow another faster than that."""
    measured: bool


@dataclass(slots=True)
class Facts:
    now: float
    states: dict[str, AssetState] = field(default_factory=dict)
    data: dict[str, float | None] = field(default_factory=dict)
    """Data time of the current version. Where it is unknown, the moment it was made stands in,
    for pacing only: its target is never reported as fresh."""
    taken: dict[str, float | None] = field(default_factory=dict)
    """As `data`, or of the version in the making."""
    stages: dict[str, Stage] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    """For every asset of a unit as soon as one of them is in the making."""
    retry_at: dict[str, float] = field(default_factory=dict)
    """When an asset that fails may be tried again."""
    stuck: dict[str, Hold] = field(default_factory=dict)
    """Assets that cannot deliver for a reason of their own."""
    held: dict[str, Hold] = field(default_factory=dict)
    """Assets that are stuck, or made from something that is."""

    def shortest(self, key: str, policy: MaxLag) -> float:
        """The smallest maximum lag (seconds) that this target's path could hold.

        Just before a version is replaced its data is as old as the version before it is apart
        (the slowest stage, as an asset never overlaps with itself), plus the whole path. A
        cron's ticks are known long before, so that no run before has to be waited for.
        """
        route = self.routes[key]
        return allowance(route.path if policy.cron else route.path.then(route.slowest))

    def late_for(self, target: str, policy: MaxLag) -> float:
        """Seconds for which `target` has been late; negative: it is good for so long."""
        data = self.data[target]
        return 0.0 if data is None else self.now - deadline(policy, data)

    def waits_unused(self, key: str, consumer: str) -> bool:
        """Whether `key` has a version that `consumer` has not begun to use.

        A consumer that keeps failing has used nothing before it succeeds.
        """
        data = self.data[key]
        taken = self.data[consumer] if consumer in self.stuck else self.taken[consumer]
        return data is not None and (taken is None or data > taken)


def facts_of(lineage: Lineage, snapshot: Snapshot, now: float) -> Facts:
    facts = Facts(now)
    for unit in lineage.units:
        _note_state(facts, unit, snapshot)
        hold = _own_hold(facts, unit, snapshot)
        for key in unit.keys:
            inputs = [name for name in lineage.inputs[key] if name in facts.states]
            facts.taken[key] = _taken(facts, key, inputs)
            facts.routes[key] = _route(facts, key, inputs, unit.tick)
            if hold:
                facts.stuck[key] = facts.held[key] = hold
            else:
                for name in inputs:
                    if name in facts.held:
                        facts.held[key] = facts.held[name]
                        break
    return facts


def _note_state(facts: Facts, unit: Unit, snapshot: Snapshot) -> None:
    for key in unit.keys:
        state = snapshot.assets.get(key, _NEVER_RUN)
        version = state.version
        facts.states[key] = state
        facts.stages[key] = stage_of(state.durations, unit.tick, unit.feeders)
        if version is None:
            facts.data[key] = None
        else:
            facts.data[key] = version.at if version.data_time is None else version.data_time
    states = [facts.states[key] for key in unit.keys]
    pending = next((state.pending for state in states if state.pending), None)
    if pending:
        facts.pending.update(dict.fromkeys(unit.keys, pending))
    retries = [
        state.failed_at + _backoff(state.failures)
        for state in states
        if state.failures and state.failed_at is not None
    ]
    if retries:
        facts.retry_at.update(dict.fromkeys(unit.keys, max(retries)))


def _backoff(failures: int) -> float:
    doublings = min(failures - 1, 10)
    return float(min(RETRY_CEILING, RETRY_FIRST * 2**doublings))


def _own_hold(facts: Facts, unit: Unit, snapshot: Snapshot) -> Hold | None:
    first = unit.keys[0]
    if unit.obstacle:
        since = snapshot.since.get(unit.location)
        return Hold(unit.location, first, "unknown", since, unit.obstacle)
    if not unit.schedulable:
        return Hold(
            unit.location, first, "unscheduled", None, f"{first} is partitioned: never requested"
        )
    seen = snapshot.seen.get(unit.location)
    if seen is not None and facts.now - seen > max(SILENT_AFTER, 3 * unit.tick):
        return Hold(unit.location, first, "silent", seen, f"{unit.location} is not heard of")
    for key in unit.keys:
        state = facts.states[key]
        if state.failures:
            return Hold(
                unit.location,
                key,
                "failing",
                state.failing_since,
                f"{key} failed {_times(state.failures)}: {state.error or 'no message'}",
            )
    return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times in a row"


def _taken(facts: Facts, key: str, inputs: list[str]) -> float | None:
    """The data time of the version that a run in progress will deliver, or of the current one.

    A run that does not say has taken every input that was there when its step started.
    """
    pending = facts.pending.get(key)
    data = facts.data[key]
    if pending is None:
        return data
    if pending.data_time is not None:
        return pending.data_time
    if not inputs:
        return pending.started_at if pending.started_at is not None else facts.now
    lowest: float | None = None
    for name in inputs:
        version = facts.states[name].version
        begun = pending.started_at
        taken = data
        if version is not None and (begun is None or version.at <= begun):
            taken = facts.data[name]
        if taken is None:
            return data
        lowest = taken if lowest is None else min(lowest, taken)
    return lowest


def _route(facts: Facts, key: str, inputs: list[str], tick: float) -> Route:
    stage = facts.stages[key]
    if not inputs:
        # Its data time is when it begins to read: the launch delays the next one only.
        return Route(stage.execution, Span(tick, 0.0).then(stage.run), stage.measured)
    own = stage.wait.then(stage.run)
    slowest = own
    longest = facts.routes[inputs[0]]
    measured = stage.measured
    for name in inputs:
        route = facts.routes[name]
        measured = measured and route.measured
        if _longer(route.path, longest.path):
            longest = route
        if _longer(route.slowest, slowest):
            slowest = route.slowest
    return Route(longest.path.then(own), slowest, measured)


def _longer(one: Span, other: Span) -> bool:
    if one.mean >= other.mean and one.variance >= other.variance:
        return one != other
    if one.mean <= other.mean and one.variance <= other.variance:
        return False
    return allowance(one) > allowance(other)
