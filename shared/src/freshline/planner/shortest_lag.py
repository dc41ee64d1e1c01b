"""The shortest maximum lag that the path to each target could hold, given durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from freshline.model import Durations
from freshline.planner.estimate import Route, Stage, route_through
from freshline.planner.lineage import Lineage

__all__ = ["ShortestLag", "shortest_lags"]

_NOT_MEASURED = Durations()


class ShortestLag(NamedTuple):
    """The smallest maximum lag that the path to a target could hold."""

    seconds: float
    path: tuple[str, ...]
    """The slowest way, from the target to a root."""
    by_location: Mapping[str, float]
    """The same seconds, by the location that takes them; the largest share first."""


def shortest_lags(lineage: Lineage, durations: Mapping[str, Durations]) -> dict[str, ShortestLag]:
    """Return the shortest lag of every target in `lineage`, by key.

    `durations` are those of each asset, by key. Assets that are missing there take what the
    planner assumes before anything was measured.
    """
    stages: dict[str, Stage] = {}
    routes: dict[str, Route] = {}
    for execution_set in lineage.execution_sets:
        for key in execution_set.keys:
            inputs = [routes[name] for name in lineage.inputs[key] if name in routes]
            stages[key] = lineage.stage(key, durations.get(key, _NOT_MEASURED), execution_set)
            routes[key] = route_through(stages[key], inputs, execution_set.tick)
    return {key: _shortest_lag(key, lineage, stages, routes) for key in lineage.policies}


def _shortest_lag(
    key: str, lineage: Lineage, stages: Mapping[str, Stage], routes: Mapping[str, Route]
) -> ShortestLag:
    policy = lineage.policies[key]
    seconds = routes[key].shortest(policy)
    path = _slowest_way(key, lineage, routes)
    shares = _shares(path, lineage, stages, with_run_before=policy.cron is None)
    scale = seconds / sum(shares.values())
    largest_first = sorted(shares, key=lambda location: (-shares[location], location))
    return ShortestLag(
        seconds, path, {location: shares[location] * scale for location in largest_first}
    )


def _slowest_way(key: str, lineage: Lineage, routes: Mapping[str, Route]) -> tuple[str, ...]:
    path = [key]
    while True:
        inputs = [name for name in lineage.inputs[path[-1]] if name not in path]
        if not inputs:
            return tuple(path)
        path.append(max(inputs, key=lambda name: (routes[name].path.mean, name)))


def _shares(
    path: tuple[str, ...], lineage: Lineage, stages: Mapping[str, Stage], *, with_run_before: bool
) -> dict[str, float]:
    """Return how many seconds each location takes on `path`.

    `with_run_before` adds the slowest run a second time: it has to end before the next one of the
    same asset can start.
    """
    shares: dict[str, float] = {}
    runs: dict[str, float] = {}
    for key in path:
        stage, location = stages[key], lineage.graph.assets[key].location
        run = stage.wait.then(stage.run)
        taken = run
        if key == path[-1]:  # a root: its data time is when it begins to read
            run, taken = stage.run, stage.execution
        runs[key] = run.mean
        shares[location] = shares.get(location, 0.0) + taken.mean
    if with_run_before:
        slowest = max(path, key=lambda key: (runs[key], key))
        shares[lineage.graph.assets[slowest].location] += runs[slowest]
    return shares
