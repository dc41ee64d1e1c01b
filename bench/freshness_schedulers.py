"""The schedulers that `freshness.py` compares freshline with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from freshline.simulate import Request, World


class CronJob:
    """Runs the whole graph as one job every `minutes`."""

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60.0

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        first = min(asset.location for asset in world.graph.assets.values())
        due = location == first and world.now % self._seconds < 1e-6
        return [Request(tuple(world.graph.assets))] if due else []


class OnCronAndEager:
    """Requests roots by Dagster's `on_cron` every `minutes`, and all other assets by `eager`.

    `eager` requests an asset when an input is newer, or is requested in the same tick by the same
    location, and no input is missing or in progress.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60.0
        self._handled: dict[str, int] = {}

    def __call__(self, world: World, location: str) -> Sequence[Request]:
        requested: list[str] = []
        for key, asset in world.graph.assets.items():
            if asset.location == location and self._wanted(world, key, requested):
                requested.append(key)
        return [Request(tuple(requested))] if requested else []

    def _wanted(self, world: World, key: str, requested: Iterable[str]) -> bool:
        asset = world.graph.assets[key]
        inputs = [
            dep
            for dep in asset.deps
            if world.graph.assets[dep].execution_set != asset.execution_set
        ]
        if not asset.execution_set:
            inputs = list(asset.deps)
        if not inputs:
            return world.now % self._seconds < 1e-6
        states = [world.states.get(dep) for dep in inputs]
        own = world.states.get(key)
        if any(state is None or state.version is None for state in states) or (own and own.pending):
            return False
        if any(s and s.pending and s.pending.requested_at < world.now for s in states):
            return False
        newest = max(state.version.id for state in states if state and state.version)
        if newest > self._handled.get(key, 0) or set(inputs) & set(requested):
            self._handled[key] = newest
            return True
        return False
