"""The values that flow through freshline (graph, snapshot, plan), and how data times follow.

Pure data: nothing here knows Dagster, a clock or a database. Every point in time is UTC
in epoch seconds, every duration is in seconds. An asset is named by its user string,
``"mart/mart_gh_join"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import inf

from freshline.policy import MaxLag

__all__ = [
    "DEFAULT_TICK",
    "HEARTBEAT",
    "NEVER_RUN",
    "Asset",
    "AssetPlan",
    "AssetState",
    "Blame",
    "Durations",
    "Graph",
    "Moments",
    "Pause",
    "Pending",
    "Phase",
    "Plan",
    "Snapshot",
    "TargetPlan",
    "TargetStatus",
    "Version",
    "data_time_of",
]


HEARTBEAT = 60.0
"""Seconds: a location that is up says so at least this often."""

DEFAULT_TICK = 5.0
"""Seconds between two plans of a location whose contract does not state them."""


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


# --- graph: what the contracts say --------------------------------------------------------


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

    def tick(self, location: str) -> float:
        """Return the seconds between two plans of `location`."""
        return self.ticks.get(location, DEFAULT_TICK)


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


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean (seconds) and variance (seconds squared) of measured durations."""

    count: float
    """How many were measured; infinite for a duration that was declared."""
    mean: float
    variance: float

    @classmethod
    def declared(cls, seconds: float) -> Moments:
        """Return a duration in seconds that was declared, not measured: it does not vary."""
        return cls(inf, seconds, 0.0)


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
    """None: unknown, because the version of an input is. Such a version is never fresh."""


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
    """When the run left the queue; None while queued."""


@dataclass(frozen=True, slots=True)
class AssetState:
    """What the event log says about one asset."""

    version: Version | None = None
    pending: Pending | None = None
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


NEVER_RUN = AssetState()


@dataclass(frozen=True, slots=True)
class Pause:
    """Somebody's order to request nothing of a location, or for a target, until some time."""

    until: float
    reason: str


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
    """Seconds from now to the latest start that still meets the deadline; negative: too late."""
    reason: str
    """One sentence for people."""
    run: str = ""
    """Requested assets of one location with the same `run` go into one run."""


@dataclass(frozen=True, slots=True)
class TargetPlan:
    key: str
    location: str
    status: TargetStatus
    lag: float | None
    maximum: float
    deadline: float | None
    shortest: float | None
    """The shortest maximum lag that the path could hold, in seconds."""
    blame: Blame | None
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    id: str
    """A digest of graph and snapshot: the same two give the same id."""
    now: float
    assets: Mapping[str, AssetPlan]
    """Every asset that some policy needs."""
    targets: Mapping[str, TargetPlan]
