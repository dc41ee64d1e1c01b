"""The schedulers that `freshness.py` compares freshline with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from freshline.simulate import Request, World


class _Cron:
    """Comes every `minutes`; is noticed by the first tick of a location after that."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60.0
        self._noticed: dict[str, float] = {}

    def is_due(self, location: str, now: float) -> bool:
        """Return whether it has come since the tick of `location` before this one."""
        newest = (now + 1e-6) // self._seconds
        known = self._noticed.get(location, -inf)
        self._noticed[location] = newest
        return newest > known


class CronJob:
    """Runs the whole graph as one job every `minutes`."""

    def __init__(self, minutes: float) -> None:
        self._cron = _Cron(minutes)

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        first = min(asset.location for asset in world.graph.assets.values())
        due = location == first and self._cron.is_due(location, world.now)
        return [Request(tuple(world.graph.assets))] if due else []


class OnCronAndEager:
    """Requests roots by Dagster's `on_cron` every `minutes`, and all other assets by `eager`.

    `eager` requests an asset when an input is newer, or is requested in the same tick by the same
    location, and no input is missing or in progress. An input of the same run is not newer.
    """

    def __init__(self, minutes: float) -> None:
        self._cron = _Cron(minutes)
        self._handled: dict[str, int] = {}
        self._location = ""  # the one that ticks

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        due, self._location = self._cron.is_due(location, world.now), location
        requested: list[str] = []
        for key, asset in world.graph.assets.items():
            if asset.location == location and self._wanted(world, key, requested, due=due):
                requested.append(key)
        return [Request(tuple(requested))] if requested else []

    def _wanted(self, world: World, key: str, requested: Iterable[str], *, due: bool) -> bool:
        inputs = _inputs(world, key)
        if not inputs:
            return due
        versions = [state.version for dep in inputs if (state := world.states.get(dep))]
        own = world.states.get(key)
        if len(versions) < len(inputs) or None in versions or (own and own.pending):
            return False
        if any(self._is_awaited(world, dep) for dep in inputs):
            return False
        if self._has_newer_input(world, key) or set(inputs) & set(requested):
            self._handled[key] = max(version.id for version in versions if version)
            return True
        return False

    def _has_newer_input(self, world: World, key: str) -> bool:
        own, handled = world.states.get(key), self._handled.get(key, 0)
        return any(
            state.version.id > handled and not (own and own.last_run_id == state.last_run_id)
            for dep in _inputs(world, key)
            if (state := world.states.get(dep)) and state.version
        )

    def _is_awaited(self, world: World, key: str) -> bool:
        """Return whether what reads `key` waits for a newer version of it."""
        pending = world.states[key].pending
        return pending is not None and pending.requested_at < world.now


class OnCronAndInOrder(OnCronAndEager):
    """Does the same, but an asset waits for everything upstream that a newer root will renew.

    No condition of Dagster's says so. It is the cheapest way to be eager: each asset is made once
    after each cron.
    """

    def _is_awaited(self, world: World, key: str) -> bool:
        # What another location requests in this tick is not there when this one's run starts.
        return (
            super()._is_awaited(world, key)
            or (
                world.graph.assets[key].location != self._location
                and bool(world.states[key].pending)
            )
            or self._has_newer_input(world, key)
            or any(self._is_awaited(world, dep) for dep in _inputs(world, key))
        )


def _inputs(world: World, key: str) -> list[str]:
    """Return what `key` reads from outside its execution set."""
    asset = world.graph.assets[key]
    return [
        dep
        for dep in asset.deps
        if not asset.execution_set or world.graph.assets[dep].execution_set != asset.execution_set
    ]
