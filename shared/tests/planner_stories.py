"""A small language for the planner's tests: what has happened, then what the plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from freshline.model import (
    Asset,
    AssetState,
    Capacity,
    Durations,
    Graph,
    Moments,
    Pause,
    Pending,
    Plan,
    Snapshot,
    Version,
)
from freshline.planner import lineage_of, plan
from freshline.policy import MaxLag

NOON = 1_700_049_600.0  # 12:00:00 UTC
TICK = 5.0

SYNC = "postgres/stargazers"
USERS = "postgres/stargazers_user"
STARGAZER = "mart/mart_gh_stargazer"
CUMULATIVE = "mart/mart_gh_cumulative"
JOIN = "mart/mart_gh_join"

WORKSPACE = (
    Asset(SYNC, "ingestion", execution_set="sync"),
    Asset(USERS, "ingestion", (SYNC,), execution_set="sync"),
    Asset(STARGAZER, "analytics_core", (SYNC, USERS)),
    Asset(CUMULATIVE, "analytics_marts", (SYNC,), MaxLag(5)),
    Asset(JOIN, "analytics_marts", (STARGAZER, CUMULATIVE), MaxLag(10)),
)
"""The graph of this repository. The sync takes 60 s, every model 15 s."""


def graph_of(*assets: Asset, tick: float = TICK, outside: frozenset[str] = frozenset()) -> Graph:
    return Graph(
        assets={asset.key: asset for asset in assets},
        ticks={asset.location: tick for asset in assets},
        outside=outside,
    )


def steady(seconds: float) -> Durations:
    """Return the durations of twenty runs that took the same time each."""
    nothing = Moments(20, 0.0, 0.0)
    return Durations(nothing, nothing, nothing, Moments(20, seconds, 0.0))


@dataclass(frozen=True)
class Story:
    """What has happened to a graph until `now`, and what the plan says then."""

    graph: Graph
    now: float = NOON
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each asset executes; 15 by default."""
    states: Mapping[str, AssetState] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)
    since: Mapping[str, float] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    capacity: Capacity = field(default_factory=Capacity)
    events: int = 0
    """How many there were; the next version has the next number as its id."""

    # --- what happens ---------------------------------------------------------------------

    def after(self, seconds: float) -> Story:
        return replace(self, now=self.now + seconds)

    def at(self, seconds: float) -> Story:
        """Go to the time that is `seconds` after noon."""
        return replace(self, now=NOON + seconds)

    def made(self, *keys: str, data: float | None) -> Story:
        """Materialize `keys` now. Their data time is `data` seconds after noon; None: unknown."""
        story = self
        for key in keys:
            story = story._with(
                key,
                version=Version(story.events + 1, story.now, None if data is None else NOON + data),
                pending=None,
                failures=0,
                failing_since=None,
                failed_at=None,
                error=None,
            )
        return story

    def queued(self, *keys: str, run: str = "run") -> Story:
        story = self
        for key in keys:
            story = story._with(key, pending=Pending(run, story.now), last_run_id=run)
        return story

    def launched(self, *keys: str, run: str = "run") -> Story:
        story = self
        for key in keys:
            pending = self._state(key).pending or Pending(run, self.now)
            story = story._with(key, pending=replace(pending, launched_at=self.now))
        return story

    def put_back(self, *keys: str, why: str) -> Story:
        """Let Dagster try to launch the queued runs of `keys`, and put them back into its queue."""
        story = self
        for key in keys:
            pending = self._state(key).pending or Pending("run", self.now)
            story = story._with(key, pending=replace(pending, held_by=why))
        return story

    def started(self, *keys: str, run: str = "run") -> Story:
        story = self
        for key in keys:
            story = story._with(key, pending=Pending(run, story.now, story.now), last_run_id=run)
        return story

    def failed(self, key: str, error: str = "boom") -> Story:
        state = self._state(key)
        return self._with(
            key,
            pending=None,
            failures=state.failures + 1,
            failing_since=self.now if state.failing_since is None else state.failing_since,
            failed_at=self.now,
            error=error,
        )

    def never_measured(self, key: str) -> Story:
        return self._with(key, durations=Durations())

    def last_heard(self, location: str, seconds: float) -> Story:
        """Let `location` be heard of for the last time at `seconds` after noon."""
        return replace(self, seen={**self.seen, location: NOON + seconds})

    def paused(self, name: str, until: float) -> Story:
        """Pause a location or target until `until` seconds after noon."""
        return replace(self, pauses={**self.pauses, name: Pause(NOON + until, "maintenance")})

    def with_asset(self, asset: Asset) -> Story:
        return replace(
            self, graph=replace(self.graph, assets={**self.graph.assets, asset.key: asset})
        )

    def _state(self, key: str) -> AssetState:
        return self.states.get(key, AssetState(durations=steady(self.seconds.get(key, 15.0))))

    def _with(self, key: str, **changes: object) -> Story:
        state = replace(self._state(key), **changes)
        return replace(self, states={**self.states, key: state}, events=self.events + 1)

    # --- what the plan says ---------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        states = {key: self._state(key) for key in self.graph.assets}
        return Snapshot(
            {**states, **self.states},
            self.seen,
            self.since,
            self.pauses,
            capacity=self.capacity,
        )

    @property
    def plan(self) -> Plan:
        return plan(lineage_of(self.graph), self.snapshot, self.now)

    @property
    def requested(self) -> set[str]:
        return {key for key, asset in self.plan.assets.items() if asset.request}

    def first_request(self, key: str, within: float) -> float | None:
        """Return when `key` is first requested, in seconds after noon, if nothing else happens."""
        story = self
        while story.now <= self.now + within:
            if key in story.requested:
                return story.now - NOON
            story = story.after(TICK)
        return None


def workspace() -> Story:
    """Return the story of the workspace at noon: all was just made, from data of noon."""
    story = Story(graph_of(*WORKSPACE), seconds={SYNC: 60.0, USERS: 60.0})
    return story.made(SYNC, USERS, STARGAZER, CUMULATIVE, JOIN, data=0)
