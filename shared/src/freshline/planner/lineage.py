"""What the graph alone says: who feeds whom, in which order, and what cannot be explained.

Worked out once for each graph; a tick in which no contract changed costs nothing here.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from freshline.model import Asset, Graph
from freshline.policy import MaxLag

__all__ = ["DEFAULT_TICK", "Lineage", "Unit", "lineage_of"]

DEFAULT_TICK = 5.0
"""Seconds between two plans of a location that does not say."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Assets that are always made together; most units have one."""

    keys: tuple[str, ...]
    location: str
    tick: float
    schedulable: bool
    feeders: int
    """How many other units it reads from."""
    obstacle: str
    """Why it can never be requested as the graph stands; "" when it can."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The part of a graph that some policy needs."""

    graph: Graph
    policies: Mapping[str, MaxLag]
    """Of every target, by key."""
    units: tuple[Unit, ...]
    """Each after every unit that feeds it."""
    inputs: Mapping[str, tuple[str, ...]]
    """What an asset reads that another run makes; none: a root."""
    unknown: Mapping[str, tuple[str, ...]]
    """Dependencies that no contract explains, for the assets that have any."""
    digest: str


_latest: Lineage | None = None


def lineage_of(graph: Graph) -> Lineage:
    """The lineage of `graph`, remembered for as long as the same graph is asked about."""
    global _latest
    known = _latest
    if known is None or known.graph is not graph:
        known = _latest = _work_out(graph)
    return known


def _work_out(graph: Graph) -> Lineage:
    siblings = _siblings(graph)
    policies = {key: asset.policy for key, asset in sorted(graph.assets.items()) if asset.policy}
    needed = _needed(graph, siblings, policies)
    inputs: dict[str, tuple[str, ...]] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    for key in needed:
        inputs[key] = tuple(
            dep
            for dep in _read_from_elsewhere(graph, graph.assets[key])
            if dep in graph.assets and dep not in graph.outside
        )
        strange = tuple(
            dep
            for dep in graph.assets[key].deps
            if dep not in graph.assets and dep not in graph.outside
        )
        if strange:
            unknown[key] = strange
    return Lineage(
        graph=graph,
        policies=policies,
        units=tuple(_ordered(graph, needed, siblings, inputs, unknown)),
        inputs=inputs,
        unknown=unknown,
        digest=_digest(graph),
    )


def _siblings(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The unit of every asset, as the keys in it."""
    together: dict[tuple[str, str], list[str]] = {}
    for key in sorted(graph.assets):
        asset = graph.assets[key]
        name = (asset.location, asset.unit) if asset.unit else ("", key)
        together.setdefault(name, []).append(key)
    return {key: tuple(keys) for keys in together.values() for key in keys}


def _needed(
    graph: Graph, siblings: Mapping[str, tuple[str, ...]], targets: Iterable[str]
) -> frozenset[str]:
    """The targets, all that they are made from, and all that is made along with it."""
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        waiting.extend(siblings[key])
        waiting.extend(dep for dep in graph.assets[key].deps if dep in graph.assets)
    return frozenset(found)


def _read_from_elsewhere(graph: Graph, asset: Asset) -> Iterator[str]:
    """Its dependencies, with those of its own unit replaced by what these read."""
    seen: set[str] = {asset.key}
    waiting = deque(asset.deps)
    while waiting:
        dep = waiting.popleft()
        if dep in seen:
            continue
        seen.add(dep)
        other = graph.assets.get(dep)
        if other and asset.unit and (other.location, other.unit) == (asset.location, asset.unit):
            waiting.extend(other.deps)
        else:
            yield dep


def _ordered(
    graph: Graph,
    needed: frozenset[str],
    siblings: Mapping[str, tuple[str, ...]],
    inputs: Mapping[str, tuple[str, ...]],
    unknown: Mapping[str, tuple[str, ...]],
) -> Iterator[Unit]:
    """The units of `needed`, inputs first; those on a cycle, or fed by one, come last."""
    feeding = {
        siblings[key]: {siblings[dep] for member in siblings[key] for dep in inputs[member]}
        for key in sorted(needed)
    }
    fed: dict[tuple[str, ...], list[tuple[str, ...]]] = {keys: [] for keys in feeding}
    missing = {keys: len(feeders) for keys, feeders in feeding.items()}
    for keys, feeders in feeding.items():
        for feeder in feeders:
            fed[feeder].append(keys)
    ready = deque(keys for keys, count in missing.items() if count == 0)
    while ready:
        keys = ready.popleft()
        del missing[keys]
        obstacle = _unknown_obstacle(keys, unknown)
        yield _unit(graph, keys, len(feeding[keys]), obstacle)
        for consumer in fed[keys]:
            missing[consumer] -= 1
            if missing[consumer] == 0:
                ready.append(consumer)
    for keys in missing:
        obstacle = f"{keys[0]} depends, in the end, on itself"
        yield _unit(graph, keys, len(feeding[keys]), obstacle)


def _unknown_obstacle(keys: tuple[str, ...], unknown: Mapping[str, tuple[str, ...]]) -> str:
    for key in keys:
        if key in unknown:
            return f"{key} depends on {' and '.join(unknown[key])}, which no location explains"
    return ""


def _unit(graph: Graph, keys: tuple[str, ...], feeders: int, obstacle: str) -> Unit:
    location = graph.assets[keys[0]].location
    return Unit(
        keys=keys,
        location=location,
        tick=graph.ticks.get(location, DEFAULT_TICK),
        schedulable=all(graph.assets[key].schedulable for key in keys),
        feeders=feeders,
        obstacle=obstacle,
    )


def _digest(graph: Graph) -> str:
    seal = hashlib.blake2b(digest_size=8)
    for key in sorted(graph.assets):
        seal.update(repr(graph.assets[key]).encode())
    seal.update(repr((sorted(graph.ticks.items()), sorted(graph.outside))).encode())
    return seal.hexdigest()
