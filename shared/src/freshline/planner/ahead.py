"""What lies ahead of an asset: the way to it, what happens next on that way, and what it needs.

A plan has a line for each asset. Somebody who asks about one asset wants to know more: where its
time goes, what it waits for, and what would have to be true for it to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final, NamedTuple

from freshline.model import Pending, Phase, Plan, Snapshot
from freshline.planner.estimate import allowance
from freshline.planner.facts import AssetFacts, Facts, is_silent
from freshline.planner.lineage import Lineage
from freshline.words import clock, span

__all__ = ["Ahead", "Hop", "Need", "Step"]


class Hop(NamedTuple):
    """One asset on the slowest way from a root to a target."""

    key: str
    location: str
    seconds: float
    """What it adds to the age of the data on average: wait, queue, start and execution. Of a root,
    execution alone: its data is as old as its run. An asset that was never measured is assumed."""


class Step(NamedTuple):
    """What happens next on the way to an asset."""

    key: str
    location: str
    phase: Phase
    since: float | None
    """Since when it is in that phase; None: not known."""
    due: float | None
    """When it is to start; None: it has started, or nothing is planned."""


class Need(NamedTuple):
    """Something that has to be true before an asset can run."""

    text: str
    met: bool


class Ahead:
    """Looks ahead from `plan`, which follows from `lineage` and from `facts` about `snapshot`."""

    def __init__(self, lineage: Lineage, snapshot: Snapshot, plan: Plan, facts: Facts) -> None:
        self.lineage: Final = lineage
        self.snapshot: Final = snapshot
        self.plan: Final = plan
        self.now = facts.now
        """UTC, epoch seconds. The plan may be an earlier one that still holds."""
        self._facts = facts

    def at(self, snapshot: Snapshot, now: float) -> Ahead:
        """Return the same at a later time `now`, at which the plan still holds.

        Of `snapshot`, only when locations were heard of is other than it was.
        """
        later = Ahead(self.lineage, snapshot, self.plan, self._facts)
        later.now = now
        return later

    # --- the way ------------------------------------------------------------------------------

    def path(self, key: str) -> tuple[Hop, ...]:
        """Return the slowest way to the asset `key`, the root first.

        It has no views: they take no time. () if no policy needs the asset.
        """
        hops: list[Hop] = []
        following: str | None = key
        while following is not None and following in self._facts.assets:
            asset = self._facts.assets[following]
            seen = {hop.key for hop in hops}
            inputs = [name for name in self._inputs(following) if name not in seen]
            before = max(inputs, key=self._allowance, default=None)
            earlier = self._facts.assets[before].route.path.mean if before else 0.0
            seconds = max(0.0, asset.route.path.mean - earlier)
            hops.append(Hop(following, asset.location, seconds))
            following = before
        return tuple(reversed(hops))

    def is_measured(self, key: str) -> bool:
        """Return whether every asset on every way to `key` was measured."""
        return key in self._facts.assets and self._facts.assets[key].route.measured

    def _allowance(self, key: str) -> float:
        return allowance(self._facts.assets[key].route.path)

    def _inputs(self, key: str) -> list[str]:
        return [name for name in self.lineage.inputs[key] if name in self._facts.assets]

    # --- what happens next --------------------------------------------------------------------

    def next_step(self, key: str) -> Step | None:
        """Return what the asset `key` waits for, upstream along what holds it back.

        None: no policy needs the asset.
        """
        seen: set[str] = set()
        while key in self._facts.assets and key not in seen:
            seen.add(key)
            found = self._look_at(key)
            if isinstance(found, Step):
                return found
            key = found
        return None

    def _look_at(self, key: str) -> Step | str:
        """Return what happens next to `key` itself, or else the input to look at."""
        asset, planned = self._facts.assets[key], self.plan.assets[key]
        pending = asset.pending or _first_pending(asset)
        if pending is not None:
            return self._made_before(key, pending) or _running(key, asset, pending)
        if planned.request:
            return Step(key, asset.location, Phase.WAIT, None, self.now)
        hold = asset.own_hold
        if hold is not None:
            due = asset.retry_at if hold.phase is Phase.FAILING else None
            return Step(key, asset.location, hold.phase, hold.since, due)
        unmade = [name for name in self.lineage.prerequisites[key] if name in self._facts.unmade]
        if unmade:
            return unmade[0]
        oldest = min(self._inputs(key), key=lambda name: self._data_time(key, name), default=None)
        if oldest is None or self._facts.has_unused_version(oldest, key):
            return Step(key, asset.location, Phase.WAIT, None, planned.due)
        return oldest

    def _made_before(self, key: str, pending: Pending) -> str | None:
        """Return the input of `key` that the same run makes first; None: none, or it has begun."""
        if pending.started_at is not None:
            return None
        runs = {name: self._facts.assets[name].pending for name in self._inputs(key)}
        return next(
            (name for name, run in runs.items() if run and run.run_id == pending.run_id), None
        )

    def _data_time(self, consumer: str, name: str) -> float:
        data_time = self._facts.data_time_of_input(consumer, name)
        return -inf if data_time is None else data_time

    # --- what it needs ------------------------------------------------------------------------

    def needs(self, key: str) -> tuple[Need, ...]:
        """Return what has to be true before the asset `key` is requested, as sentences."""
        if key not in self._facts.assets:
            return (Need("some policy needs it", False),)
        return tuple(self._needs(key))

    def _needs(self, key: str) -> Iterator[Need]:
        asset = self._facts.assets[key]
        hold = asset.own_hold
        if hold is not None and hold.phase is Phase.UNSCHEDULED:
            yield Need(f"somebody makes it: {hold.message}", False)
            return
        if hold is not None and hold.phase is Phase.UNKNOWN:
            yield Need(f"it is known who makes what it reads: {hold.message}", False)
        yield from self._needs_of_location(key, asset)
        yield from self._needs_of_inputs(key, asset)
        yield from self._needs_of_time(key, asset)

    def _needs_of_location(self, key: str, asset: AssetFacts) -> Iterator[Need]:
        seen = self.snapshot.seen.get(asset.location)
        if seen is not None:
            silent = is_silent(seen, asset.tick, self.now)
            heard = clock(seen, self.now)
            yield Need(f"{asset.location} is heard of; it last was at {heard}", not silent)
        for name in (asset.location, key):
            pause = self._facts.pauses.get(name)
            if pause is not None:
                until = clock(pause.until, self.now)
                yield Need(f"{name} is not paused; it is until {until}: {pause.reason}", False)

    def _needs_of_inputs(self, key: str, asset: AssetFacts) -> Iterator[Need]:
        for name in self.lineage.prerequisites[key]:
            if name in self._facts.unmade:
                yield Need(f"{name} has been made", False)
        for name in self._inputs(key):
            version = self._facts.assets[name].state.version
            if version is None:
                yield Need(f"{name} has been made", False)
                continue
            than = ""
            if asset.used_up_to is not None:
                than = f" newer than {clock(asset.used_up_to, self.now)}"
            text = f"{name} has data{than}"
            data_time = self._facts.data_time_of_input(key, name)
            met = self._facts.has_unused_version(name, key)
            if not met and data_time is not None:
                text += f"; it has data of {clock(data_time, self.now)}"
            expected = self.plan.assets[name].expected
            if not met and expected is not None:
                text += f", and newer data is expected by {clock(expected, self.now)}"
            yield Need(text, met)

    def _needs_of_time(self, key: str, asset: AssetFacts) -> Iterator[Need]:
        planned, state = self.plan.assets[key], asset.state
        if state.failures and asset.retry_at > -inf:
            times = "once" if state.failures == 1 else f"{state.failures} times in a row"
            text = f"it is {clock(asset.retry_at, self.now)}: it failed {times}"
            yield Need(f"{text}: {state.error or 'no message'}", self.now >= asset.retry_at)
        if asset.rested_at > -inf:
            pause = span(asset.stage.rest.mean)
            text = f"it is {clock(asset.rested_at, self.now)}: it is made at most every {pause}"
            yield Need(text, self.now >= asset.rested_at)
        node = self.lineage.graph.assets[key]
        if node.static or node.view:
            yield Need("it was never made, or its code has changed", planned.request)
        elif planned.target is None:
            yield Need("a policy needs it", False)
        elif planned.slack is not None:
            latest = self.plan.now + planned.slack
            reached = planned.request or self.now > latest - asset.tick
            early = ", or waiting for newer inputs gains nothing" if self._inputs(key) else ""
            text = f"it is {clock(latest, self.now)}, the latest start for {planned.target}{early}"
            yield Need(text, reached)


def _first_pending(asset: AssetFacts) -> Pending | None:
    """Return the run of the oldest partition that is being made; None: there is none."""
    return next((part.pending for part in asset.state.parts if part.pending), None)


def _running(key: str, asset: AssetFacts, pending: Pending) -> Step:
    phase, since = pending.standing()
    return Step(key, asset.location, phase, since, None)
