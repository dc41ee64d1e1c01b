"""What freshness cost: runs, syncs, versions and seconds of work, beside the least that would do.

The least is a bound, not a schedule: no way to keep the same promises makes an asset less often.
Two versions of a target are at most as far apart as its maximum lag less the time that its path
takes; an asset is made at least as often as each target downstream of it. The time of a path is
that which was measured: of half of the versions it was shorter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from freshline.history.past import Change, ChangeKind, PastRun
from freshline.model import Graph, inputs_first
from freshline.planner import next_tick
from freshline.policy import MaxLag
from freshline.report.lag import Interval

__all__ = ["AssetCost", "Cost", "cost_of", "seconds_of_versions"]

_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class AssetCost:
    """What one asset cost. Rates are per hour."""

    key: str
    location: str
    versions: float
    least: float | None
    """The fewest versions that the promises need; None: no promise needs it."""
    seconds: float | None
    """How long making a version took: half of them took less. None: none was measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What all assets cost together. Rates are per hour."""

    hours: float
    assets: Sequence[AssetCost]
    syncs: float
    """Versions of roots; those that are always made together count once."""
    least_syncs: float
    versions: float
    least_versions: float
    runs: float
    """Runs that have ended and that a plan asked for, or that have made one of the assets."""
    least_runs: float
    """At least one for each version of the asset of a location that is made most often."""
    failed: int
    """Runs that failed or were cancelled: their number, not a rate."""
    work: float
    """Seconds in which assets were being made."""
    least_work: float


def cost_of(
    graph: Graph,
    changes: Iterable[Change],
    runs: Iterable[PastRun],
    times: Sequence[Interval],
) -> Cost:
    """Return what the assets of `graph` cost in `times`."""
    hours = sum(time.seconds for time in times) / _HOUR
    made = [
        change
        for change in changes
        if change.kind is ChangeKind.MADE
        and change.key in graph.assets
        and any(time.begin <= change.at < time.end for time in times)
    ]
    seconds = seconds_of_versions(made)
    usual = {key: median(each) for key, each in _by_key(made, seconds).items()}
    counts: dict[str, int] = defaultdict(int)
    for change in made:
        counts[change.key] += 1
    least = _least_rates(graph, _path_seconds(graph, made, usual), usual, times)
    assets = [
        AssetCost(
            key,
            graph.assets[key].location,
            counts.get(key, 0) / hours if hours else 0.0,
            least.get(key),
            usual.get(key),
        )
        for key in sorted({*counts, *least})
    ]
    makers = {change.run_id for change in made}
    ended = [
        run
        for run in runs
        if (run.requested is not None or run.id in makers)
        and any(time.begin <= run.ended < time.end for time in times)
    ]
    roots = {key for key in graph.assets if _is_root(graph, key)}
    by_location: dict[str, float] = {}
    for it in assets:
        by_location[it.location] = max(by_location.get(it.location, 0.0), it.least or 0.0)
    return Cost(
        hours=hours,
        assets=assets,
        syncs=_together(graph, made, roots) / hours if hours else 0.0,
        least_syncs=sum(_by_set(graph, least, roots).values()),
        versions=len(made) / hours if hours else 0.0,
        least_versions=sum(least.values()),
        runs=len(ended) / hours if hours else 0.0,
        least_runs=sum(by_location.values()),
        failed=sum(run.status != "SUCCESS" for run in ended),
        work=sum(seconds.values()) / hours if hours else 0.0,
        least_work=sum(rate * usual.get(key, 0.0) for key, rate in least.items()),
    )


def seconds_of_versions(made: Iterable[Change]) -> dict[tuple[int, str], float]:
    """Return how long making each version took, by its event and key.

    Where a step makes several assets, the time of one begins when the one before was there. So the
    seconds of all versions of a run add up to those in which the run made something.
    """
    found: dict[tuple[int, str], float] = {}
    before: dict[str, float] = {}
    for change in sorted(made, key=lambda change: change.event):
        if change.started is None:
            continue
        begin = max(change.started, before.get(change.run_id, change.started))
        found[change.event, change.key] = max(0.0, change.at - begin)
        before[change.run_id] = change.at
    return found


def _by_key(
    made: Iterable[Change], seconds: Mapping[tuple[int, str], float]
) -> Mapping[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for change in made:
        if (change.event, change.key) in seconds:
            found[change.key].append(seconds[change.event, change.key])
    return found


def _is_root(graph: Graph, key: str) -> bool:
    asset = graph.assets[key]
    return not asset.observed and all(dep not in graph.assets for dep in asset.deps)


def _together(graph: Graph, made: Iterable[Change], roots: set[str]) -> int:
    """Return how often roots were made; those of one execution set in one run count once."""
    return len(
        {
            (change.run_id or change.event, graph.assets[change.key].execution_set or change.key)
            for change in made
            if change.key in roots
        }
    )


def _by_set(graph: Graph, least: Mapping[str, float], roots: set[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key in roots & least.keys():
        name = graph.assets[key].execution_set or key
        found[name] = max(found.get(name, 0.0), least[key])
    return found


# --- the least that would do ------------------------------------------------------------------


def _path_seconds(
    graph: Graph, made: Iterable[Change], usual: Mapping[str, float]
) -> dict[str, float]:
    """Return how long it takes until a sync that begins now has reached each asset, at least.

    A run is launched when the inputs are there, unless it makes one of them itself.
    """
    launches: dict[str, list[float]] = defaultdict(list)
    for change in made:
        if change.started is not None and change.ready is not None:
            asked = change.ready if change.requested is None else change.requested
            launches[change.key].append(max(0.0, change.started - max(asked, change.ready)))
    found: dict[str, float] = {}
    inputs = {
        key: [dep for dep in asset.deps if dep in graph.assets]
        for key, asset in graph.assets.items()
    }
    for key in inputs_first(inputs):
        own = usual.get(key, 0.0) + (median(launches[key]) if key in launches else 0.0)
        found[key] = own + max((found.get(dep, 0.0) for dep in inputs.get(key, ())), default=0.0)
    return found


def _least_rates(
    graph: Graph,
    path_seconds: Mapping[str, float],
    usual: Mapping[str, float],
    times: Sequence[Interval],
) -> dict[str, float]:
    """Return the fewest versions an hour of each asset that a promise needs."""
    rates: dict[str, float] = {}
    for target, asset in graph.assets.items():
        if asset.policy is None or asset.partitioned:
            continue  # a partition is made once its window has closed, whatever is promised
        upstream = _upstream(graph, target)
        rate = _least_rate(asset.policy, path_seconds.get(target, 0.0), times)
        if rate is None:
            # It cannot be kept. Then the slowest asset on its path is made without a pause.
            slowest = max(usual.get(key, 0.0) for key in upstream)
            rate = _HOUR / slowest if slowest else 0.0
        for key in upstream:
            needed = graph.assets[key]
            if not (needed.never_requested or needed.view or needed.static or needed.partitioned):
                rates[key] = max(rates.get(key, 0.0), rate)
    by_set: dict[str, float] = {}
    for key, rate in rates.items():
        name = graph.assets[key].execution_set
        by_set[name] = max(by_set.get(name, 0.0), rate)
    for key, asset in graph.assets.items():
        if asset.execution_set and asset.execution_set in by_set:
            rates[key] = by_set[asset.execution_set]
    return rates


def _least_rate(policy: MaxLag, path: float, times: Sequence[Interval]) -> float | None:
    """Return the fewest versions an hour of a target; None: its promise cannot be kept."""
    maximum = policy.minutes * 60.0
    if maximum <= path:
        return None
    rate = _HOUR / (maximum - path)
    if policy.cron is None:
        return rate
    ticks = 0
    for time in times:
        tick = next_tick(policy.cron, policy.timezone, time.begin)
        while tick < time.end:
            ticks += 1
            tick = next_tick(policy.cron, policy.timezone, tick)
    hours = sum(time.seconds for time in times) / _HOUR
    return min(rate, ticks / hours) if hours else 0.0


def _upstream(graph: Graph, target: str) -> set[str]:
    """Return `target` and all that it is made from."""
    found = {target}
    waiting = [target]
    while waiting:
        new = {dep for dep in graph.assets[waiting.pop()].deps if dep in graph.assets} - found
        found |= new
        waiting.extend(new)
    return found
