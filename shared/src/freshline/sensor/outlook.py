"""Outlook: contracts, history and plan at one moment, read from the shared instance."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256

from dagster import DagsterInstance

from freshline.contract import Contract, ContractReader, PublishedContract, graph_of
from freshline.contract.publication import digest
from freshline.history import History
from freshline.model import Graph, Plan, Snapshot
from freshline.planner import lineage_of, plan

__all__ = ["Observer", "Outlook"]


@dataclass(frozen=True, slots=True)
class Outlook:
    graph: Graph
    snapshot: Snapshot
    plan: Plan
    published: Mapping[str, PublishedContract]
    """What each location has last published."""
    problems: Mapping[str, str]
    """Locations whose contract cannot be read, and why."""
    contracts: tuple[Contract, ...]
    """Those that the graph is made of."""
    digest: str
    """Of all those contracts together."""


class Observer:
    """Looks at an instance again and again; remembers in between what cannot change."""

    def __init__(self) -> None:
        self._reader: ContractReader | None = None
        self._history: History | None = None
        self._graph: tuple[Mapping[str, str], Graph] | None = None
        self._since: dict[str, tuple[str, float]] = {}

    def look(self, instance: DagsterInstance, now: float, own: Contract | None = None) -> Outlook:
        """The outlook at `now`. A location's `own` contract counts as it is in its memory,
        not as it was published. Raises what the instance's storage raises."""
        with _uncollected():
            return self._look(instance, now, own)

    def _look(self, instance: DagsterInstance, now: float, own: Contract | None) -> Outlook:
        if self._reader is None or self._history is None:
            self._reader, self._history = ContractReader(instance), History(instance)
        self._reader.instance = self._history.instance = instance
        published = self._reader.read()
        problems = dict(self._reader.problems)
        heard = dict(published)
        if own is not None:
            heard[own.location] = PublishedContract(own, now, digest(own))
            problems.pop(own.location, None)
        graph = self._graph_of(heard)
        seen = {location: contract.published_at for location, contract in heard.items()}
        snapshot = replace(self._history.read(graph, now, seen), since=self._first_heard(heard))
        return Outlook(
            graph=graph,
            snapshot=snapshot,
            plan=plan(lineage_of(graph), snapshot, now),
            published=published,
            problems=problems,
            contracts=tuple(contract.contract for contract in heard.values()),
            digest=_digest(heard),
        )

    def _graph_of(self, contracts: Mapping[str, PublishedContract]) -> Graph:
        """The same object as long as no contract changes."""
        digests = {location: contract.digest for location, contract in contracts.items()}
        if self._graph is None or self._graph[0] != digests:
            graph = graph_of(contract.contract for contract in contracts.values())
            self._graph = digests, graph
        return self._graph[1]

    def _first_heard(self, contracts: Mapping[str, PublishedContract]) -> dict[str, float]:
        """Since when each contract says what it says, as far as this process can tell."""
        self._since = {
            location: known
            if (known := self._since.get(location)) and known[0] == contract.digest
            else (contract.digest, contract.published_at)
            for location, contract in contracts.items()
        }
        return {location: since for location, (_, since) in self._since.items()}


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave garbage be for a moment. A look makes many objects and hardly a cycle, and each of
    the collections that they would set off walks all that is remembered: a third of the time
    with 10,000 assets."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _digest(contracts: Mapping[str, PublishedContract]) -> str:
    told = "\n".join(f"{name} {contracts[name].digest}" for name in sorted(contracts))
    return sha256(told.encode()).hexdigest()[:16]
