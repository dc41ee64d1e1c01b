"""The present state of each asset that some policy needs.

One pass over the lineage, inputs first. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from freshline.model import (
    HEARTBEAT,
    Asset,
    AssetState,
    Graph,
    Pause,
    Pending,
    Phase,
    Snapshot,
    Version,
    data_time_of,
)
from freshline.planner.deadlines import deadline
from freshline.planner.estimate import Route, Stage, route_through
from freshline.planner.lineage import ExecutionSet, Lineage
from freshline.policy import MaxLag
from freshline.words import clock

__all__ = [
    "AssetFacts",
    "Facts",
    "Hold",
    "facts_of",
    "is_silent",
    "is_unmade",
    "retry_at",
    "silent_locations",
]

SILENT_AFTER: Final = 3 * HEARTBEAT
"""Seconds without a word from a location after which it counts as silent. If its ticks are longer
than a heartbeat, it is three ticks instead."""

RETRY_FIRST: Final = 30.0
RETRY_CEILING: Final = 900.0
"""A failed asset is tried again after 30 s, 60 s, 120 s ... 15 min at most."""


class Hold(NamedTuple):
    """Why an asset cannot have a newer version for now, whatever is requested."""

    location: str
    asset: str
    phase: Phase
    """`FAILING`, `SILENT`, `PAUSED`, `UNSCHEDULED` or `UNKNOWN`."""
    since: float | None
    message: str


@dataclass(slots=True)
class AssetFacts:
    location: str
    tick: float
    """Seconds between two plans of its location: as it declares, or more if more were measured."""
    state: AssetState
    data_time: float | None
    """The data time of the current version, or, if that is unknown, when the version was made. The
    latter only sets the pace of runs: a target of unknown data time is never fresh."""
    stage: Stage
    route: Route
    pending: Pending | None
    """The run in which its execution set is being made."""
    retry_at: float
    """From when its execution set may be tried again; -inf: it has not failed."""
    rested_at: float
    """From when its execution set may be made again; -inf: at any time."""
    own_hold: Hold | None
    """Why it cannot deliver, for a reason of its own execution set."""
    hold: Hold | None
    """Why it cannot deliver, for a reason of its own or of an asset upstream."""
    gaps: frozenset[str] = frozenset()
    """The assets, it or upstream, that lack partitions which were never promised."""
    used_up_to: float | None = None
    """The data time of the version that a run is making now. Without a run: that of the version
    that the newest run would have made, if there had been anything new, or else `data_time`."""

    @property
    def paced(self) -> float | None:
        """The data time from which on the next run of the asset is due."""
        return self.data_time if self.pending else self.used_up_to


@dataclass(slots=True)
class Facts:
    now: float
    pauses: Mapping[str, Pause]
    """The pauses in force, by location or target."""
    graph: Graph
    execution_sets: list[ExecutionSet] = field(default_factory=list)
    """Those of the lineage that there is something to say about, inputs first. Views that have been
    made are not among them, but for targets."""
    assets: dict[str, AssetFacts] = field(default_factory=dict)
    unmade: set[str] = field(default_factory=set)
    """Assets that were never made."""
    until: float = inf
    """Up to when all that was asked of the clock has the same answer."""

    def reached(self, time: float) -> bool:
        """Return whether it is `time`, or later."""
        self.changes_at(time)
        return self.now >= time

    def passed(self, time: float) -> bool:
        """Return whether it is later than `time`."""
        self.changes_at(time)
        return self.now > time

    def changes_at(self, time: float) -> None:
        """Note that the plan may be another one from `time` on, if that is not over."""
        if self.now <= time < self.until:
            self.until = time

    def changes_now(self) -> None:
        """Note that the plan may be another one at any later time."""
        self.until = self.now

    def pause(self, target: str) -> Pause | None:
        """Return the pause of `target` or of its location; None: the target is to be kept."""
        if not self.pauses:
            return None
        return self.pauses.get(target) or self.pauses.get(self.assets[target].location)

    def late_for(self, target: str, policy: MaxLag) -> float:
        """Return by how many seconds `target` is late; negative: how long it is still in time."""
        data_time = self.assets[target].data_time
        return 0.0 if data_time is None else self.now - deadline(policy, data_time)

    def has_unused_version(self, key: str, consumer: str) -> bool:
        """Return whether `key` has a version that no run of `consumer` has read.

        Runs do not count while the consumer keeps failing.
        """
        data_time, reader = self.data_time_of_input(consumer, key), self.assets[consumer]
        used = reader.data_time if reader.own_hold else reader.used_up_to
        if data_time is None or used is None:
            return data_time is not None
        windows = self.graph.assets[consumer].windows
        return (windows.reach(data_time, self.now) if windows else data_time) > used

    def data_time_of_input(self, consumer: str, name: str) -> float | None:
        """Return the data time that `consumer` gets from the input `name` now."""
        reads = self.graph.assets[consumer].reads.get(name)
        if reads is not None and reads.last:
            return self.assets[name].state.last_data_time
        return self.assets[name].data_time


def is_silent(seen: float, tick: float | None, now: float) -> bool:
    """Return whether a location that was last heard of at `seen` counts as silent at `now`.

    `tick` is the time between two of its plans in seconds; None: it does not say.
    """
    return now - seen > max(SILENT_AFTER, 3 * (tick or 0.0))


def silent_locations(graph: Graph, snapshot: Snapshot, now: float) -> dict[str, float]:
    """Return when each location was last heard of that counts as silent at `now`."""
    return {
        location: at
        for location, at in snapshot.seen.items()
        if is_silent(at, graph.tick(location, snapshot.ticks), now)
    }


def facts_of(lineage: Lineage, snapshot: Snapshot, now: float) -> Facts:
    """Return what `snapshot` says at `now` of every asset in `lineage`."""
    pauses = {name: it for name, it in snapshot.pauses.items() if now < it.until}
    facts = Facts(now, pauses, lineage.graph)
    for pause in pauses.values():
        facts.changes_at(pause.until)
    for execution_set in lineage.execution_sets:
        if not execution_set.asleep or _needs_making(execution_set, lineage.graph, snapshot):
            facts.execution_sets.append(execution_set)
            _add(facts, execution_set, lineage, snapshot)
    return facts


def _needs_making(execution_set: ExecutionSet, graph: Graph, snapshot: Snapshot) -> bool:
    """Return whether views, which are made once, were never made, or by other code."""
    for key in execution_set.keys:
        state = snapshot.assets.get(key)
        if state is None or is_unmade(graph.assets[key], state.version):
            return True
    return False


def is_unmade(asset: Asset, version: Version | None) -> bool:
    """Return whether `asset`, which is made once, was never made as it is now."""
    if version is None:
        return True
    if not asset.view or asset.code_version is None or version.code_version is None:
        return False
    return asset.code_version != version.code_version


def _add(facts: Facts, execution_set: ExecutionSet, lineage: Lineage, snapshot: Snapshot) -> None:
    states = {key: snapshot.state(key) for key in execution_set.keys}
    pending = next((state.pending for state in states.values() if state.pending), None)
    again_at = max([retry_at(state.failures, state.failed_at) for state in states.values()])
    rested_at = -inf
    if execution_set.at_most_every:
        rested_at = max([_rested_at(state, execution_set) for state in states.values()])
    tick = lineage.graph.tick(execution_set.location, snapshot.ticks)
    own_hold = _own_hold(facts, execution_set, states, snapshot, tick)
    for key, state in states.items():
        node = lineage.graph.assets[key]
        if node.windows:
            facts.changes_at(node.windows.at(facts.now).end)
        inputs = [name for name in lineage.inputs[key] if name in facts.assets]
        sources = [facts.assets[name] for name in inputs]
        stage = lineage.stage(key, state.durations, execution_set, tick)
        asset = facts.assets[key] = AssetFacts(
            location=execution_set.location,
            tick=tick,
            state=state,
            data_time=_data_time(state, node, facts.now),
            stage=stage,
            route=route_through(
                stage,
                [source.route for source in sources],
                tick,
                node.windows if node.windows and not node.windows.has_open_window else None,
                facts.now,
            ),
            pending=pending,
            # Each partition has failures of its own.
            retry_at=-inf if node.partitioned else again_at,
            rested_at=rested_at,
            own_hold=own_hold,
            hold=own_hold or next((source.hold for source in sources if source.hold), None),
        )
        asset.used_up_to = _used_up_to(asset, sources, facts)
        if node.observed and not pending and state.version and asset.used_up_to is not None:
            # What is observed may state that its data is old: then it is, at the next look too.
            asset.used_up_to = max(asset.used_up_to, state.version.at)
        asset.gaps = frozenset().union(*(source.gaps for source in sources if source.gaps))
        if state.holes_before_promise:
            asset.gaps |= {key}
        if state.version is None:
            facts.unmade.add(key)


def _data_time(state: AssetState, asset: Asset, now: float) -> float | None:
    version = state.version
    if version is None:
        return None
    if asset.static:
        return now  # it never becomes too old
    if version.data_time is None and not asset.partitioned:
        return version.at
    return version.data_time


def retry_at(failures: int, failed_at: float | None) -> float:
    """Return from when on something may be tried again that failed so often, `failed_at` last."""
    if not failures or failed_at is None:
        return -inf
    pause: float = RETRY_FIRST * 2 ** min(failures - 1, 10)
    return failed_at + min(RETRY_CEILING, pause)


def _rested_at(state: AssetState, execution_set: ExecutionSet) -> float:
    if state.version is None:
        return -inf
    return state.version.at + execution_set.at_most_every


def _own_hold(
    facts: Facts,
    execution_set: ExecutionSet,
    states: dict[str, AssetState],
    snapshot: Snapshot,
    tick: float,
) -> Hold | None:
    location, first = execution_set.location, execution_set.keys[0]
    if execution_set.obstacle:
        since = snapshot.since.get(location)
        return Hold(location, first, Phase.UNKNOWN, since, execution_set.obstacle)
    if execution_set.never_requested:
        message = execution_set.never_requested
        if facts.graph.assets[first].elsewhere:
            message += _newest_report(first, states[first], facts.now)
        return Hold(location, first, Phase.UNSCHEDULED, None, message)
    if facts.pauses and (pause := facts.pauses.get(location)):
        message = f"{location} is paused until {clock(pause.until, facts.now)}: {pause.reason}"
        return Hold(location, first, Phase.PAUSED, None, message)
    seen = snapshot.seen.get(location)
    if seen is not None and is_silent(seen, tick, facts.now):
        return Hold(location, first, Phase.SILENT, seen, f"{location} is not heard of")
    for key, state in states.items():
        # A partition that has failed does not hold up the others.
        if state.failures and not facts.graph.assets[key].partitioned:
            message = f"{key} failed {_times(state.failures)}: {state.error or 'no message'}"
            return Hold(location, key, Phase.FAILING, state.failing_since, message)
    return None


def _newest_report(key: str, state: AssetState, now: float) -> str:
    """Return what was last reported of an asset that is made elsewhere, or how to report it."""
    version = state.version
    if version is None:
        return (
            "; nothing of it was ever reported. To report it, where it is made: instance."
            f"report_runless_asset_event(AssetMaterialization({key.split('/')}, "
            "metadata=data_time_metadata(datetime.now(UTC))))"
        )
    if version.data_time is None:
        return ""
    return f"; what was last reported of it is as of {clock(version.data_time, now)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times in a row"


def _used_up_to(asset: AssetFacts, inputs: Sequence[AssetFacts], facts: Facts) -> float | None:
    """Return the data time of the version that a run is making, or else of the current one.

    A run whose data time is not known is taken to read every version that existed when its step
    started.
    """
    pending = asset.pending
    if pending is None:
        answer = asset.state.nothing_new
        if answer is None or answer.data_time is None:
            return asset.data_time
        return max(answer.data_time, asset.data_time or answer.data_time)
    if pending.data_time is not None:
        return pending.data_time
    started = pending.started_at
    if not inputs and started is None:
        facts.changes_now()
        return facts.now
    if not inputs:
        return started
    used = data_time_of(
        source.data_time if _existed_at(started, source) else asset.data_time for source in inputs
    )
    return asset.data_time if used is None else used


def _existed_at(time: float | None, asset: AssetFacts) -> bool:
    """Return whether the current version of `asset` existed at `time`; None: now."""
    version = asset.state.version
    return version is not None and (time is None or version.at <= time)
