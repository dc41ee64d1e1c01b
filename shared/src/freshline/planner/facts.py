"""What is so now, for each asset that some policy needs.

One pass over the lineage, inputs first. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from freshline.model import HEARTBEAT, AssetState, Pending, Phase, Snapshot, data_time_of
from freshline.planner.deadlines import deadline
from freshline.planner.estimate import Route, Stage, route_through
from freshline.planner.lineage import ExecutionSet, Lineage
from freshline.policy import MaxLag

__all__ = ["AssetFacts", "Facts", "Hold", "facts_of"]

SILENT_AFTER: Final = 3 * HEARTBEAT
"""Seconds without a word after which a location counts as down, or three of its ticks if that is
longer."""

RETRY_FIRST: Final = 30.0
RETRY_CEILING: Final = 900.0
"""A failed asset is tried again after 30 s, 60 s, 120 s ... 15 min at most."""


class Hold(NamedTuple):
    """Why an asset cannot have a newer version for now, whatever is requested."""

    location: str
    asset: str
    phase: Phase
    """`FAILING`, `SILENT`, `UNSCHEDULED` or `UNKNOWN`."""
    since: float | None
    message: str


@dataclass(slots=True)
class AssetFacts:
    location: str
    tick: float
    """Seconds between two plans of its location."""
    state: AssetState
    data: float | None
    """Data time of the current version. Where that is unknown, the time at which the version was
    made stands in, for pacing only: its target is never reported as fresh."""
    stage: Stage
    route: Route
    pending: Pending | None
    """The run in which its execution set is being made."""
    retry_at: float
    """From when on its execution set may be tried again after a failure; -inf: it has none."""
    stuck: Hold | None
    """Why it cannot deliver, for a reason of its own."""
    held: Hold | None
    """Why it cannot deliver, for a reason of its own or of what it is made from."""
    taken: float | None = None
    """As `data`, or of the version in the making."""


@dataclass(slots=True)
class Facts:
    now: float
    assets: dict[str, AssetFacts] = field(default_factory=dict)

    def late_for(self, target: str, policy: MaxLag) -> float:
        """Return for how many seconds `target` has been late; negative: it is good for so long."""
        data = self.assets[target].data
        return 0.0 if data is None else self.now - deadline(policy, data)

    def waits_unused(self, key: str, consumer: str) -> bool:
        """Return whether `key` has a version that `consumer` has not begun to use.

        A consumer that keeps failing has used nothing before it succeeds.
        """
        data, reader = self.assets[key].data, self.assets[consumer]
        taken = reader.data if reader.stuck else reader.taken
        return data is not None and (taken is None or data > taken)


def facts_of(lineage: Lineage, snapshot: Snapshot, now: float) -> Facts:
    """Return what `snapshot` says at `now` of every asset in `lineage`."""
    facts = Facts(now)
    for execution_set in lineage.execution_sets:
        _add(facts, execution_set, lineage, snapshot)
    return facts


def _add(facts: Facts, execution_set: ExecutionSet, lineage: Lineage, snapshot: Snapshot) -> None:
    states = {key: snapshot.state(key) for key in execution_set.keys}
    pending = next((state.pending for state in states.values() if state.pending), None)
    retry_at = max([_retry_at(state) for state in states.values()])
    stuck = _own_hold(facts.now, execution_set, states, snapshot)
    for key, state in states.items():
        inputs = [name for name in lineage.inputs[key] if name in facts.assets]
        sources = [facts.assets[name] for name in inputs]
        stage = lineage.stage(key, state.durations, execution_set)
        asset = facts.assets[key] = AssetFacts(
            location=execution_set.location,
            tick=execution_set.tick,
            state=state,
            data=_data(state),
            stage=stage,
            route=route_through(stage, [source.route for source in sources], execution_set.tick),
            pending=pending,
            retry_at=retry_at,
            stuck=stuck,
            held=stuck or next((source.held for source in sources if source.held), None),
        )
        asset.taken = _taken(asset, sources, facts.now)


def _data(state: AssetState) -> float | None:
    version = state.version
    if version is None:
        return None
    return version.at if version.data_time is None else version.data_time


def _retry_at(state: AssetState) -> float:
    if not state.failures or state.failed_at is None:
        return -inf
    pause: float = RETRY_FIRST * 2 ** min(state.failures - 1, 10)
    return state.failed_at + min(RETRY_CEILING, pause)


def _own_hold(
    now: float, execution_set: ExecutionSet, states: dict[str, AssetState], snapshot: Snapshot
) -> Hold | None:
    location, first = execution_set.location, execution_set.keys[0]
    if execution_set.obstacle:
        since = snapshot.since.get(location)
        return Hold(location, first, Phase.UNKNOWN, since, execution_set.obstacle)
    if not execution_set.schedulable:
        message = f"{first} is partitioned: never requested"
        return Hold(location, first, Phase.UNSCHEDULED, None, message)
    seen = snapshot.seen.get(location)
    if seen is not None and now - seen > max(SILENT_AFTER, 3 * execution_set.tick):
        return Hold(location, first, Phase.SILENT, seen, f"{location} is not heard of")
    for key, state in states.items():
        if state.failures:
            message = f"{key} failed {_times(state.failures)}: {state.error or 'no message'}"
            return Hold(location, key, Phase.FAILING, state.failing_since, message)
    return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times in a row"


def _taken(asset: AssetFacts, inputs: Sequence[AssetFacts], now: float) -> float | None:
    """Return the data time of what a run in progress will deliver, or of the current version.

    A run that does not say has taken every input that was there when its step started.
    """
    pending = asset.pending
    if pending is None:
        return asset.data
    if pending.data_time is not None:
        return pending.data_time
    begun = pending.started_at
    if not inputs:
        return begun if begun is not None else now
    taken = data_time_of(
        source.data if _was_there(source, begun) else asset.data for source in inputs
    )
    return asset.data if taken is None else taken


def _was_there(asset: AssetFacts, begun: float | None) -> bool:
    version = asset.state.version
    return version is not None and (begun is None or version.at <= begun)
