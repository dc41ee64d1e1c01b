"""What a sensor knows at a tick: the contracts, the snapshot and the plan that follows."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from dagster import DagsterInstance

from freshline.contract import Contract, ContractReader, PublishedContract, graph_of
from freshline.contract.publication import digest
from freshline.history import History
from freshline.model import Graph, Plan, Snapshot
from freshline.planner import Lineage, lineage_of, plan

__all__ = ["Observer", "Outlook"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a location's sensor knows at one time."""

    graph: Graph
    snapshot: Snapshot
    plan: Plan
    published: Mapping[str, PublishedContract]
    """What each location has last published."""
    problems: Mapping[str, str]
    """Locations whose contract cannot be read, and why."""
    contracts: tuple[Contract, ...]
    """The contracts that the graph is made of."""
    digest: str
    """Changes when any of these contracts does."""


class Observer:
    """Looks at an instance at every tick, and remembers what cannot change."""

    def __init__(self) -> None:
        self._reader = ContractReader()
        self._history: History | None = None
        self._lineage: tuple[Mapping[str, str], Lineage] | None = None
        self._since: dict[str, tuple[str, float]] = {}

    def look(self, instance: DagsterInstance, now: float, own: Contract | None = None) -> Outlook:
        """Return the outlook at `now` (UTC, epoch seconds).

        `own` is the contract of the location that asks. It counts instead of the one that the
        location has published. Raises what the instance's storage raises.
        """
        with _no_garbage_collection():
            return self._look(instance, now, own)

    def _look(self, instance: DagsterInstance, now: float, own: Contract | None) -> Outlook:
        published = self._reader.read(instance)
        problems = dict(self._reader.problems)
        contracts = dict(published)
        if own is not None:
            contracts[own.location] = PublishedContract(own, now, digest(own))
            problems.pop(own.location, None)
        lineage = self._lineage_of(contracts)
        snapshot = self._history_of(instance).read(
            lineage.graph,
            now,
            seen={location: contract.published_at for location, contract in contracts.items()},
            since=self._first_published(contracts),
        )
        return Outlook(
            graph=lineage.graph,
            snapshot=snapshot,
            plan=plan(lineage, snapshot, now),
            published=published,
            problems=problems,
            contracts=tuple(contract.contract for contract in contracts.values()),
            digest=_digest(contracts),
        )

    def _history_of(self, instance: DagsterInstance) -> History:
        if self._history is None:
            self._history = History(instance)
        self._history.reconnect(instance)
        return self._history

    def _lineage_of(self, contracts: Mapping[str, PublishedContract]) -> Lineage:
        """Return the same object as long as no contract changes."""
        digests = {location: contract.digest for location, contract in contracts.items()}
        if self._lineage is None or self._lineage[0] != digests:
            graph = graph_of(contract.contract for contract in contracts.values())
            self._lineage = digests, lineage_of(graph)
        return self._lineage[1]

    def _first_published(self, contracts: Mapping[str, PublishedContract]) -> dict[str, float]:
        """Return when each location's present contract was first published, as far as seen."""
        self._since = {
            location: known
            if (known := self._since.get(location)) and known[0] == contract.digest
            else (contract.digest, contract.published_at)
            for location, contract in contracts.items()
        }
        return {location: since for location, (_, since) in self._since.items()}


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python's garbage collector off.

    A look makes many objects, which would set off collections although hardly any are in a
    reference cycle. Each collection walks all that is remembered, and with 10,000 assets they
    take a third of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _digest(contracts: Mapping[str, PublishedContract]) -> str:
    lines = "\n".join(f"{name} {contracts[name].digest}" for name in sorted(contracts))
    return sha256(lines.encode()).hexdigest()[:16]
