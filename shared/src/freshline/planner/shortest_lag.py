"""The shortest maximum lag that the path to each target could hold, given durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from freshline.model import AssetState, Durations, Snapshot
from freshline.planner.facts import AssetFacts, facts_of
from freshline.planner.lineage import Lineage

__all__ = ["ShortestLag", "shortest_lags"]


_SOME_TIME: Final = 0.0
"""Time windows are as long at one time as at another."""


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
    states = {key: AssetState(durations=each) for key, each in durations.items()}
    facts = facts_of(lineage, Snapshot(states), now=_SOME_TIME)
    return {key: _shortest_lag(key, lineage, facts.assets) for key in lineage.policies}


def _shortest_lag(key: str, lineage: Lineage, assets: Mapping[str, AssetFacts]) -> ShortestLag:
    policy = lineage.policies[key]
    seconds = assets[key].route.shortest(policy, _SOME_TIME)
    path = _slowest_way(key, lineage, assets)
    shares = _shares(path, lineage, assets, with_run_before=policy.cron is None)
    scale = seconds / sum(shares.values())
    largest_first = sorted(shares, key=lambda location: (-shares[location], location))
    return ShortestLag(
        seconds, path, {location: shares[location] * scale for location in largest_first}
    )


def _slowest_way(key: str, lineage: Lineage, assets: Mapping[str, AssetFacts]) -> tuple[str, ...]:
    path = [key]
    while True:
        inputs = [name for name in lineage.inputs[path[-1]] if name not in path]
        if not inputs:
            return tuple(path)
        path.append(max(inputs, key=lambda name: (assets[name].route.path.mean, name)))


def _shares(
    path: tuple[str, ...],
    lineage: Lineage,
    assets: Mapping[str, AssetFacts],
    *,
    with_run_before: bool,
) -> dict[str, float]:
    """Return how many seconds each location takes on `path`.

    `with_run_before` adds the slowest run a second time, with its rest: both have to end before the
    next run of the same asset can start. A time window that is longer than that counts instead.
    """
    shares: dict[str, float] = {}
    cycles: dict[str, float] = {}
    for key in path:
        stage, location = assets[key].stage, assets[key].location
        run = stage.wait.then(stage.run)
        taken = run
        if key == path[-1]:  # a root: its data time is when it begins to read
            run, taken = stage.run, stage.execution
        windows = lineage.graph.assets[key].windows
        cycles[key] = run.mean + stage.rest.mean
        if windows and not windows.has_open_window:
            cycles[key] = max(cycles[key], windows.longest(_SOME_TIME))
        shares[location] = shares.get(location, 0.0) + taken.mean
    if with_run_before:
        slowest = max(path, key=lambda key: (cycles[key], key))
        shares[assets[slowest].location] += cycles[slowest]
    return shares
