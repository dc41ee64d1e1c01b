"""What follows from the graph alone: the order of its assets, and which can never be requested.

A `Lineage` is worked out once for each graph and kept as long as no contract changes, so that a
tick without a change costs nothing here.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from freshline.model import Asset, Durations, Graph, inputs_first
from freshline.planner.estimate import NOTHING, Stage, stage_of
from freshline.policy import MaxLag

__all__ = ["ExecutionSet", "Lineage", "lineage_of"]


@dataclass(frozen=True, slots=True)
class ExecutionSet:
    """Assets that are always made together; most sets have one."""

    keys: tuple[str, ...]
    location: str
    never_requested: str
    """Why it is never requested, as a sentence; "" if it may be."""
    at_most_every: float
    """Seconds that must pass after a version before a policy may have the next one made."""
    made_once: bool
    """Whether it is made only if it never was: all of it is static, or a view."""
    asleep: bool
    """Whether it can be left out of a plan as long as it need not be made: no target is in it."""
    feeders: int
    """How many other execution sets it reads from."""
    obstacle: str
    """What is wrong with its dependencies, so that it cannot be requested; "" if nothing is."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The part of a graph that some policy needs."""

    graph: Graph
    policies: Mapping[str, MaxLag]
    """The policy of every target, by key."""
    execution_sets: tuple[ExecutionSet, ...]
    """Inputs first: each comes after all that it reads from. Those on a cycle come last."""
    by_location: Mapping[str, tuple[str, ...]]
    """The keys of each location, in the order of `execution_sets`."""
    roots: Mapping[str, ExecutionSet]
    """The execution sets that read nothing, by the key of each of their assets."""
    made_together: Mapping[str, tuple[str, ...]]
    """The keys of the execution set of each asset in the graph, also if no policy needs it."""
    inputs: Mapping[str, tuple[str, ...]]
    """What each asset reads from outside its execution set; a root reads nothing.

    Static assets are not among them: they never become too old. Nor are views: what a view reads
    is there instead."""
    prerequisites: Mapping[str, tuple[str, ...]]
    """The static assets and views that each asset reads; they must have been made."""
    digest: str
    """Changes whenever the graph does."""
    has_rests: bool
    """Whether some asset is made at most every so many seconds."""
    _stages: dict[str, tuple[Durations, float, Stage]] = field(default_factory=dict, compare=False)
    """The last stage of each asset, and the durations and the tick that it was worked out from."""

    def stage(
        self, key: str, durations: Durations, execution_set: ExecutionSet, tick: float
    ) -> Stage:
        """Return the stage of the asset `key`, which belongs to `execution_set`.

        Its location plans every `tick` seconds. The stage is worked out again only for another tick
        or another `durations` object: there is a new one when a run has added to them.
        """
        known = self._stages.get(key)
        if known is None or known[0] is not durations or known[1] != tick:
            stage = (
                NOTHING
                if self.graph.assets[key].view
                else stage_of(
                    durations,
                    tick,
                    execution_set.feeders,
                    execution_set.at_most_every,
                )
            )
            known = self._stages[key] = durations, tick, stage
        return known[2]


def lineage_of(graph: Graph) -> Lineage:
    """Return the lineage of `graph`."""
    made_together = _made_together(graph)
    policies = {key: asset.policy for key, asset in sorted(graph.assets.items()) if asset.policy}
    needed = _needed(graph, made_together, policies)
    read = {
        key: [
            dep
            for dep in _read_from_elsewhere(graph, key, made_together[key])
            if dep in graph.assets and dep not in graph.outside
        ]
        for key in needed
    }
    inputs = {
        key: tuple(dep for dep in deps if not _is_prerequisite(graph.assets[dep]))
        for key, deps in read.items()
    }
    prerequisites = {
        key: tuple(dep for dep in deps if _is_prerequisite(graph.assets[dep]))
        for key, deps in read.items()
    }
    execution_sets = tuple(_ordered(graph, needed, made_together, read, inputs))
    return Lineage(
        graph=graph,
        policies=policies,
        execution_sets=execution_sets,
        by_location=_by_location(execution_sets),
        roots={
            key: one
            for one in execution_sets
            if not any(read[member] for member in one.keys)
            for key in one.keys
        },
        made_together=made_together,
        inputs=inputs,
        prerequisites=prerequisites,
        digest=_digest(graph),
        has_rests=any(each.at_most_every for each in execution_sets),
    )


def _is_prerequisite(asset: Asset) -> bool:
    """Return whether what is made from the asset needs it to be there, and never to be newer."""
    return asset.static or asset.view


def _made_together(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return, for every asset, the keys of its execution set."""
    together: dict[tuple[str, str], list[str]] = {}
    for key in sorted(graph.assets):
        asset = graph.assets[key]
        name = (asset.location, asset.execution_set) if asset.execution_set else ("", key)
        together.setdefault(name, []).append(key)
    return {key: tuple(keys) for keys in together.values() for key in keys}


def _needed(
    graph: Graph, made_together: Mapping[str, tuple[str, ...]], targets: Iterable[str]
) -> frozenset[str]:
    """Return the targets, everything upstream, and what is made together with any of these."""
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        waiting.extend(made_together[key])
        waiting.extend(dep for dep in graph.assets[key].deps if dep in graph.assets)
    return frozenset(found)


def _read_from_elsewhere(graph: Graph, key: str, together: tuple[str, ...]) -> Iterator[str]:
    """Yield what `key` reads from outside its execution set, itself or through others in it.

    What a view reads is read through the view as well.
    """
    seen: set[str] = {key}
    waiting = deque(graph.assets[key].deps)
    while waiting:
        dep = waiting.popleft()
        if dep in seen:
            continue
        seen.add(dep)
        inside = dep in together
        if inside or (dep in graph.assets and graph.assets[dep].view):
            waiting.extend(graph.assets[dep].deps)
        if not inside:
            yield dep


def _ordered(
    graph: Graph,
    needed: frozenset[str],
    made_together: Mapping[str, tuple[str, ...]],
    read: Mapping[str, Sequence[str]],
    inputs: Mapping[str, Sequence[str]],
) -> Iterator[ExecutionSet]:
    """Yield the execution sets of `needed`, inputs first; those on a cycle, or fed by one, last."""

    def sets_of(keys: tuple[str, ...], deps: Mapping[str, Sequence[str]]) -> set[tuple[str, ...]]:
        return {made_together[dep] for member in keys for dep in deps[member]}

    together = dict.fromkeys(made_together[key] for key in sorted(needed))
    for keys in inputs_first({keys: sets_of(keys, read) for keys in together}):
        del together[keys]
        yield _execution_set(graph, keys, len(sets_of(keys, inputs)), _unexplained(graph, keys))
    for keys in together:
        obstacle = f"{keys[0]} depends, in the end, on itself"
        yield _execution_set(graph, keys, len(sets_of(keys, inputs)), obstacle)


def _by_location(execution_sets: Iterable[ExecutionSet]) -> dict[str, tuple[str, ...]]:
    keys: dict[str, list[str]] = {}
    for execution_set in execution_sets:
        keys.setdefault(execution_set.location, []).extend(execution_set.keys)
    return {location: tuple(some) for location, some in keys.items()}


def _unexplained(graph: Graph, keys: tuple[str, ...]) -> str:
    """Return which dependencies of `keys` no contract explains; "" when there are none."""
    for key in keys:
        unknown = [
            dep
            for dep in graph.assets[key].deps
            if dep not in graph.assets and dep not in graph.outside
        ]
        if unknown:
            former = graph.gone.get(unknown[0])
            if former:
                return f"{key} depends on {unknown[0]}, which {former} no longer makes"
            return f"{key} depends on {' and '.join(unknown)}, which no location explains"
    return ""


def _execution_set(
    graph: Graph, keys: tuple[str, ...], feeders: int, obstacle: str
) -> ExecutionSet:
    location = graph.assets[keys[0]].location
    refused = [
        f"{key} is never requested: {why}"
        for key in keys
        if (why := graph.assets[key].never_requested)
    ]
    return ExecutionSet(
        keys=keys,
        location=location,
        never_requested=refused[0] if refused else "",
        at_most_every=max(graph.assets[key].at_most_every for key in keys),
        made_once=all(_is_prerequisite(graph.assets[key]) for key in keys),
        asleep=all(graph.assets[key].view and not graph.assets[key].policy for key in keys),
        feeders=feeders,
        obstacle=obstacle,
    )


def _digest(graph: Graph) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for key in sorted(graph.assets):
        digest.update(repr(graph.assets[key]).encode())
    parts = graph.ticks.items(), graph.outside, graph.gone.items(), graph.observers
    digest.update(repr([sorted(part) for part in parts]).encode())
    return digest.hexdigest()
