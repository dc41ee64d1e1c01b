"""The values that flow through freshline (graph, snapshot, plan), and how data times follow.

Pure data: nothing here knows Dagster, a clock or a database. Every point in time is UTC
in epoch seconds, every duration is in seconds. An asset is named by its user string,
``"mart/mart_gh_join"``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from math import inf
from typing import Final, TypeVar

from freshline.policy import MaxLag
from freshline.windows import Window, Windows

__all__ = [
    "DEFAULT_TICK",
    "HEARTBEAT",
    "NEVER_RUN",
    "SLOTS",
    "Asset",
    "AssetPlan",
    "AssetState",
    "Blame",
    "Capacity",
    "Durations",
    "Graph",
    "Moments",
    "NothingNew",
    "Part",
    "PartitionKeys",
    "Pause",
    "Pending",
    "Phase",
    "Plan",
    "Reads",
    "Snapshot",
    "TargetPlan",
    "TargetStatus",
    "Trend",
    "Version",
    "data_time_of",
    "inputs_first",
]


T = TypeVar("T", bound=Hashable)

HEARTBEAT = 60.0
"""Seconds: a location that is up says so at least this often."""

DEFAULT_TICK = 5.0
"""Seconds between two plans of a location whose contract does not state them."""

SLOTS = ""
"""The slots of the run queue, among the names of pools."""


def data_time_of(inputs: Iterable[float | None]) -> float | None:
    """Return the data time of an asset, given those of its inputs.

    It is the oldest of them, or None (unknown) if one of them is None. Without inputs it is None
    as well: a root has a data time of its own.
    """
    oldest: float | None = None
    for data_time in inputs:
        if data_time is None:
            return None
        if oldest is None or data_time < oldest:
            oldest = data_time
    return oldest


def inputs_first(inputs: Mapping[T, Iterable[T]]) -> Iterator[T]:
    """Yield the keys of `inputs`, and what they name, each after its own inputs.

    What is on a cycle, or fed by one, is left out.
    """
    sorter = TopologicalSorter(inputs)
    with suppress(CycleError):  # the sorter still yields what is on no cycle
        sorter.prepare()
    while ready := sorter.get_ready():
        yield from ready
        sorter.done(*ready)


# --- graph: what the contracts say --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """The keys of an asset's static or dynamic partitions, or of that dimension of them."""

    static: tuple[str, ...] = ()
    dynamic: str = ""
    """The name of the set of keys that the instance keeps; "": the keys are `static`."""
    first: bool = False
    """With time windows as well: whether a partition key begins with this dimension."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Which partitions of an input a partition of an asset reads; by default, all of them."""

    windows: tuple[int, int] | None = None
    """Those of the same time, from so many windows later until so many later; (0, 0): no others.
    None: not by windows."""
    last: bool = False
    """Only the last partition."""
    same_key: bool = False
    """The partition of the same key, of static or dynamic partitions."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An executable asset of some code location."""

    key: str
    location: str
    deps: tuple[str, ...] = ()
    policy: MaxLag | None = None
    execution_set: str = ""
    """Assets of one location with the same non-empty execution set are always made together."""
    never_requested: str = ""
    """Why it is never requested, as the end of a sentence; "" if it may be."""
    at_most_every: float = 0.0
    """Seconds that must pass after a version before a policy may have the next one made."""
    elsewhere: bool = False
    """No contract describes it: what it is made from is not known."""
    static: bool = False
    """Its content does not change with time, as that of a dbt seed: it is made if it never was."""
    view: bool = False
    """It is as fresh as its inputs without a run: it is made if it never was, or if its code has
    changed."""
    code_version: str | None = None
    """The version of its code; None: it does not say."""
    observed: bool = False
    """A run observes it: it is made outside, and its location can look at it."""
    windows: Windows | None = None
    """The time windows of its partitions; None: it has none."""
    keys: PartitionKeys | None = None
    """Its static or dynamic partitions, besides those of time; None: it has none."""
    reads: Mapping[str, Reads] = field(default_factory=dict, hash=False)
    """Which partitions of an input it reads, by input; all of those that are not here."""
    single_run: bool = False
    """One run can make a range of its partitions."""
    promised_from: float | None = None
    """Partitions whose window ends before it are history that was never promised; None: all
    partitions count."""
    pools: tuple[str, ...] = ()
    """The pools that a run of it needs a place in."""

    @property
    def launched_with(self) -> Hashable:
        """The same for assets that Dagster can launch in one run."""
        # By how much the data of a partition is older than its name is no part of its definition.
        windows = self.windows and replace(self.windows, shift=0)
        return self.observed, windows, self.keys

    @property
    def partitioned(self) -> bool:
        """Whether it has partitions of any kind."""
        return self.windows is not None or self.keys is not None


@dataclass(frozen=True)
class Graph:
    """Every asset of every location that has published a contract."""

    assets: Mapping[str, Asset]
    ticks: Mapping[str, float] = field(default_factory=dict)
    """Seconds between two plans, for each location."""
    outside: frozenset[str] = frozenset()
    """Keys that some contract declares to be made outside the workspace; nothing waits for them."""
    gone: Mapping[str, str] = field(default_factory=dict)
    """Keys that nobody makes any more, with the location that made them."""
    observers: frozenset[str] = frozenset()
    """Locations that only observe, and are planned here as if they did not."""

    @cached_property
    def undated(self) -> frozenset[str]:
        """Assets whose data time does not count for what is made from them."""
        return self.outside | {key for key, asset in self.assets.items() if asset.static}

    @cached_property
    def pools(self) -> frozenset[str]:
        """The pools that some asset needs a place in."""
        return frozenset(pool for asset in self.assets.values() for pool in asset.pools)

    def tick(self, location: str, measured: Mapping[str, float] | None = None) -> float:
        """Return the seconds between two plans of `location`.

        As it declares, or as they were `measured`, by location, if that is more.
        """
        return max(self.ticks.get(location, DEFAULT_TICK), (measured or {}).get(location, 0.0))


# --- snapshot: what the event log says ----------------------------------------------------


class Phase(StrEnum):
    """Where an asset stands on the way to its next version.

    The first four are measured: they add up to the time between an asset's inputs being ready
    and its materialization. In the others nothing moves.
    """

    WAIT = "wait"
    """Inputs ready, until the run is requested; a tick at most."""
    QUEUE = "queue"
    """Run requested, until it leaves the queue."""
    START = "start"
    """Run launched, until the asset's step starts."""
    EXECUTION = "execution"
    """Step started, until the asset is materialized."""

    FAILING = "failing"
    """Its last run failed."""
    SILENT = "silent"
    """Its location is not heard of."""
    UNSCHEDULED = "unscheduled"
    """It is never requested."""
    PAUSED = "paused"
    """Its location is paused."""
    UNKNOWN = "unknown"
    """A dependency is in no contract, or its data time is not known."""

    @property
    def moves(self) -> bool:
        """Whether the asset is on its way, so that nobody has to do anything about it."""
        return self in _MOVING


_MOVING: Final = frozenset({Phase.WAIT, Phase.QUEUE, Phase.START, Phase.EXECUTION})

DOING: Final = {Phase.QUEUE: "queued", Phase.START: "starting", Phase.EXECUTION: "running"}
"""The phases in which there is a run, and what it is said to be in them."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean (seconds) and variance (seconds squared) of measured durations."""

    count: float
    """How many were measured; infinite for a duration that was declared."""
    mean: float
    variance: float
    mean_of: float | None = None
    """How many of them the mean is of: those since durations last changed. None: all."""
    trend: Trend | None = None
    """The newest ones, while they look as if durations had changed."""

    @classmethod
    def declared(cls, seconds: float) -> Moments:
        """Return a duration in seconds that was declared, not measured: it does not vary."""
        return cls(inf, seconds, 0.0)


@dataclass(frozen=True, slots=True)
class Trend:
    """The newest measured durations, most of them far from the mean, and on the same side."""

    before: Moments
    """What was measured before them."""
    durations: tuple[float, ...]
    """Seconds, the oldest first."""
    evidence: float
    """How sure it is that durations have changed; above zero if they are longer now."""


@dataclass(frozen=True, slots=True)
class Durations:
    """What an asset's recent successful runs took, by phase; None: never measured."""

    wait: Moments | None = None
    queue: Moments | None = None
    start: Moments | None = None
    execution: Moments | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One materialization."""

    id: int
    """Its id in the event log; larger is later."""
    at: float
    """When it was materialized."""
    data_time: float | None
    """None: unknown, because the version of an input is. Such a version is never fresh. Of a
    partitioned asset: up to then nothing is missing."""
    unchanged_since: float | None = None
    """Its data time when it was made, if that has moved on since because nothing has changed
    upstream; None: it has not moved."""
    code_version: str | None = None
    """The version of the code that made it; None: not known."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A run, queued or in progress, that will deliver an asset."""

    run_id: str
    requested_at: float
    started_at: float | None = None
    """When the asset's step started; None while queued or starting."""
    data_time: float | None = None
    """The data time that the delivered version will have at least; None: not known yet."""
    launched_at: float | None = None
    """When the run left the queue, and took a slot; None while it has none."""
    held_by: str = ""
    """Why Dagster cannot launch it and tries again, as the end of a sentence; "": it has not tried,
    or could."""

    def standing(self) -> tuple[Phase, float]:
        """Return the phase that the run is in, and since when (UTC, epoch seconds)."""
        if self.started_at is not None:
            return Phase.EXECUTION, self.started_at
        if self.launched_at is not None and not self.held_by:
            return Phase.START, self.launched_at
        return Phase.QUEUE, self.requested_at


@dataclass(frozen=True, slots=True)
class NothingNew:
    """The answer of an asset's newest run: it succeeded, and there was nothing to make."""

    at: float
    """When its step ended."""
    data_time: float | None
    """The data time that a version would have had; None: not known."""


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of an asset that runs may still have to make."""

    name: str
    """Its partition key."""
    window: Window | None = None
    """Its time window; None: it has none."""
    data_time: float | None = None
    """The data time of its newest version; None: there is no version, or it is unknown."""
    version: int = 0
    """The id of that version; 0: there is none."""
    pending: Pending | None = None
    failures: int = 0
    """Consecutive failed or cancelled runs since that version."""
    failed_at: float | None = None
    error: str | None = None
    nothing_new: NothingNew | None = None
    """Set if its newest run had nothing to make."""
    last_run_id: str = ""
    key: str = ""
    """Its key in the dimension without time, if there is one."""
    made_at: float | None = None
    """When its newest version was made."""


@dataclass(frozen=True, slots=True)
class AssetState:
    """What the event log says about one asset."""

    version: Version | None = None
    """Of a partitioned asset: the newest version of any partition, with the asset's data time."""
    pending: Pending | None = None
    """Of a partitioned asset: None; its parts have their own."""
    failures: int = 0
    """Consecutive failed or cancelled runs since the last materialization."""
    failing_since: float | None = None
    """When the first of these failed."""
    failed_at: float | None = None
    """When the last of these failed."""
    error: str | None = None
    last_run_id: str = ""
    """The newest run that was to make the asset, whether it did or not; "" for none."""
    durations: Durations = Durations()
    nothing_new: NothingNew | None = None
    """Set if the newest run had nothing to make."""
    parts: tuple[Part, ...] = ()
    """Of an asset with time windows: its partitions that are not complete, the oldest first. Of
    one with static or dynamic partitions alone: all of them."""
    last_data_time: float | None = None
    """Of a partitioned asset: up to when nothing is missing in its last partition."""
    holes_before_promise: int = 0
    """How many of its partitions are missing that were never promised."""


NEVER_RUN = AssetState()


@dataclass(frozen=True, slots=True)
class Pause:
    """Somebody's order to request nothing of a location, or for a target, until some time."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may be under way at once."""

    slots: int | None = None
    """Runs; None: any number."""
    pools: Mapping[str, int] = field(default_factory=dict)
    """Places in each pool; a pool that is missing here has any number."""
    others: int = 0
    """Slots that are taken now by runs that no `Pending` of the snapshot shows."""

    @property
    def limits(self) -> dict[str, int]:
        """How many slots there are (`SLOTS`), and places in each pool, of what is limited."""
        slots = {} if self.slots is None else {SLOTS: self.slots}
        return {**slots, **self.pools}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the event log says about all assets and locations at one time."""

    assets: Mapping[str, AssetState]
    """Assets that are missing here have never run."""
    seen: Mapping[str, float] = field(default_factory=dict)
    """When each location was last heard of."""
    since: Mapping[str, float] = field(default_factory=dict)
    """When each location first published the contract that is in the graph. From then on, each
    of its dependencies should be in some contract."""
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """The pauses that have not ended, by the name of the location or the key of the target."""
    ticks: Mapping[str, float] = field(default_factory=dict)
    """The measured seconds between two plans of a location, if they are more than it declares."""
    capacity: Capacity = Capacity()

    def state(self, key: str) -> AssetState:
        """Return the state of the asset `key`."""
        return self.assets.get(key, NEVER_RUN)


# --- plan: what to do, and why ------------------------------------------------------------


class TargetStatus(StrEnum):
    FRESH = "fresh"
    LATE = "late"
    INFEASIBLE = "infeasible"
    """The path takes longer than the maximum lag."""
    BLOCKED = "blocked"
    """Something on the path cannot run: unknown dependency, failing asset, silent location."""
    PAUSED = "paused"
    """Somebody has paused the target or its location."""


BROKEN: Final = frozenset({TargetStatus.LATE, TargetStatus.BLOCKED})
"""The states of a target whose promise is broken. One that is infeasible or paused breaks nothing:
somebody has to decide, or has decided."""


@dataclass(frozen=True, slots=True)
class Blame:
    """What holds a target up: an asset, its location, and the phase that it is in."""

    location: str
    asset: str
    phase: Phase
    since: float | None
    message: str


@dataclass(frozen=True, slots=True)
class AssetPlan:
    key: str
    request: bool
    """Request it now."""
    due: float | None
    """When it is next to start; None: no policy needs it."""
    target: str | None
    """The target that it is due for."""
    deadline: float | None
    """When that target must have newer data."""
    slack: float | None
    """Seconds from the time of the plan to the latest start that still meets the deadline;
    negative: too late."""
    reason: str
    """One sentence for people."""
    cause: str = ""
    """Why it is requested, in a few words that stay true: they are read later, on its run."""
    expected: float | None = None
    """By when its next version is expected; None: none is. It is the time of the plan for a run
    that takes longer than was expected."""
    run: str = ""
    """Requested assets of one location with the same `run` go into one run."""
    parts: tuple[str, ...] = ()
    """The keys of the partitions to request; () for an asset without partitions."""
    together: bool = False
    """Whether one run makes all `parts`, which are then a range, and not one run each."""


@dataclass(frozen=True, slots=True)
class TargetPlan:
    key: str
    location: str
    status: TargetStatus
    lag: float | None
    """In seconds, at the time of the plan; None: not known."""
    maximum: float
    deadline: float | None
    shortest: float | None
    """The shortest maximum lag that the path could hold, in seconds."""
    blame: Blame | None
    reason: str
    unchanged_since: float | None = None
    """Since when nothing upstream has changed, if it is fresh because of that."""
    never_promised: Mapping[str, int] = field(default_factory=dict)
    """How many partitions are missing of it and upstream that are too old to be promised, by
    asset."""


@dataclass(frozen=True, slots=True)
class Plan:
    id: str
    """A digest of graph and snapshot: the same two give the same id."""
    now: float
    assets: Mapping[str, AssetPlan]
    """Every asset that some policy needs."""
    targets: Mapping[str, TargetPlan]
    until: float = -inf
    """Before this time it stays as it is if nothing happens, but for a location that falls silent;
    `now`, or before it: that is not known. Only the lag of a target and the slack of an asset move
    with the clock, and an asset is always due now if its partitions are being made, or if it waits
    for a run that takes longer than was expected."""
