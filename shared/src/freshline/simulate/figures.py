"""What a simulated workspace cost, and whether its policies held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, inf

from freshline.model import Graph
from freshline.planner import next_tick
from freshline.policy import MaxLag
from freshline.simulate.world import World

__all__ = ["Figures", "Lateness", "figures"]


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late one target was."""

    share: float
    """The share of seconds (with a cron: of its ticks) at which the lag was above the maximum."""
    longest: float
    """The largest lag, in seconds."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a simulated workspace cost, and how late its targets were."""

    root_syncs: float
    """Runs of roots an hour. An execution set counts once."""
    materializations: float
    """Materializations of all assets and partitions an hour."""
    observations: float
    """Runs an hour that look at what is made outside; they are in neither of the others."""
    targets: dict[str, Lateness]


def figures(world: World, begin: float, end: float) -> Figures:
    """Return the figures for the time from `begin` to `end` (seconds), sampled every second."""
    hours = (end - begin) / 3600.0
    graph = world.graph
    roots = {
        key
        for key, asset in graph.assets.items()
        if all(dep not in graph.assets for dep in asset.deps)
    }
    looked_at = {key for key, asset in graph.assets.items() if asset.observed}
    partitioned = {key for key, asset in graph.assets.items() if asset.partitioned}
    syncs = made = observations = 0
    for run in world.runs:
        ended = {key for key, at in run.ended.items() if begin <= at < end}
        syncs += len(_units((ended & roots) - looked_at, graph))
        observations += len(_units(ended & looked_at, graph))
        made += sum(len(run.parts) if key in partitioned else 1 for key in ended - looked_at)
    targets = {
        key: _lateness(world.versions.get(key, []), asset.policy, begin, end)
        for key, asset in sorted(graph.assets.items())
        if asset.policy
    }
    return Figures(syncs / hours, made / hours, observations / hours, targets)


def _units(keys: Iterable[str], graph: Graph) -> set[str]:
    """Return `keys`, with one for all that are always made together."""
    return {graph.assets[key].execution_set or key for key in keys}


def _lateness(
    versions: list[tuple[float, float | None]], policy: MaxLag, begin: float, end: float
) -> Lateness:
    late = samples = 0
    longest = 0.0
    periods = [(at, data) for at, data in versions if at < end]
    periods.insert(0, (-inf, None))
    for (at, data), (until, _) in zip(periods, [*periods[1:], (end, None)], strict=True):
        first, last = max(at, begin), min(until, end)
        if first >= last:
            continue
        data_time = -inf if data is None else data
        if policy.cron is None:
            total = ceil(last) - ceil(first)
            limit = data_time + policy.minutes * 60.0 + 1e-6
            good = ceil(first) if data is None else floor(limit) + 1
            late += min(total, max(0, ceil(last) - max(good, ceil(first))))
            samples += total
            longest = max(longest, last - data_time)
        else:
            tick = next_tick(policy.cron, policy.timezone, first - 1e-3)
            while tick < last:
                samples += 1
                late += tick - data_time > policy.minutes * 60.0 + 1e-6
                longest = max(longest, tick - data_time)
                tick = next_tick(policy.cron, policy.timezone, tick)
    return Lateness(late / samples if samples else 0.0, longest)
