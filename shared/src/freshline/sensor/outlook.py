"""What a sensor knows at a tick: the contracts, the snapshot and the plan that follows.

Between two changes, a tick asks whether anything has happened, and has the last answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf
from typing import NamedTuple

from dagster import DagsterInstance

from freshline.contract import Contract, ContractReader, PublishedContract, graph_of
from freshline.contract.elsewhere import Elsewhere
from freshline.contract.graph import made_outside, unexplained
from freshline.contract.pauses import read_pauses, tells_of_pause
from freshline.contract.publication import digest, tells_of_contract
from freshline.garbage import no_garbage_collection
from freshline.history import History
from freshline.history.news import News, Watch
from freshline.history.tally import Work
from freshline.model import Graph, Pause, Plan, Snapshot, TargetPlan
from freshline.planner import (
    Ahead,
    Lineage,
    is_silent,
    lineage_of,
    look_ahead,
    silent_locations,
)
from freshline.sensor.pace import Pace

__all__ = ["Observer", "Outlook"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a location's sensor knows at one time."""

    ahead: Ahead
    """The plan, what it follows from, and more about single assets."""
    published: Mapping[str, PublishedContract]
    """What each location has last published."""
    problems: Mapping[str, str]
    """Locations whose contract cannot be read, and why."""
    contracts: tuple[Contract, ...]
    """The contracts that the graph is made of."""
    replaced: Mapping[str, str]
    """Silent locations whose assets another location makes now, with what to do about it."""
    digest: str
    """Changes when any of these contracts does."""
    work: Mapping[str, Work]
    """How much was run in each location since the observer began to look."""

    @property
    def now(self) -> float:
        """Return that time; the plan may be an earlier one that still holds."""
        return self.ahead.now

    @property
    def lineage(self) -> Lineage:
        """Return the lineage of all locations."""
        return self.ahead.lineage

    @property
    def snapshot(self) -> Snapshot:
        """Return what the event log says."""
        return self.ahead.snapshot

    @property
    def plan(self) -> Plan:
        """Return the plan for all locations."""
        return self.ahead.plan

    @property
    def graph(self) -> Graph:
        """Return the graph of all locations."""
        return self.lineage.graph

    @property
    def changed_at(self) -> float:
        """Return when the newest contract appeared, as far as was seen; -inf: there is none.

        UTC, epoch seconds.
        """
        return max(self.snapshot.since.values(), default=-inf)

    def contract(self, location: str) -> Contract | None:
        """Return the contract of `location` that the graph is made of."""
        return next((it for it in self.contracts if it.location == location), None)

    def targets_in(self, location: str) -> list[TargetPlan]:
        """Return how the targets of `location` stand."""
        return [it for it in self.plan.targets.values() if it.location == location]


class _Gaps(NamedTuple):
    """What does not fit together in the contracts, as long as none of them changes."""

    digest: str
    unexplained: set[str]
    """Keys that some location depends on and no contract explains."""
    outside: set[str]
    """Keys that are declared to be made outside the workspace."""
    claimed_twice: list[tuple[str, str, str]]
    """Each key that two locations make, with both, once in each order."""


class _Basis(NamedTuple):
    """What a plan is made from, besides what the history says."""

    gaps: _Gaps
    replaced: Mapping[str, str]
    observers: frozenset[str]
    ticks: Mapping[str, float]
    """The measured ticks."""


class Observer:
    """Looks at an instance at every tick, and remembers what has not changed."""

    def __init__(self) -> None:
        self._reader = ContractReader()
        self._history: History | None = None
        self._elsewhere = Elsewhere()
        self._gaps: _Gaps | None = None
        self._lineage: tuple[object, Lineage] | None = None
        self._since: dict[str, tuple[str, float]] = {}
        self._watch: Watch | None = None
        self._pauses: Mapping[str, Pause] = {}
        self._own: tuple[Contract, str, PublishedContract] | None = None
        self._last: Outlook | None = None
        self._basis: _Basis | None = None
        """What the last plan was made from, besides the snapshot."""
        self._until = -inf
        """Up to when the last plan holds if nothing happens."""

    def look(
        self,
        instance: DagsterInstance,
        now: float,
        own: Contract | None = None,
        observers: Collection[str] = (),
        pace: Pace | None = None,
    ) -> Outlook:
        """Return the outlook at `now` (UTC, epoch seconds).

        `own` is the contract of the location that asks, and `pace` is that of its ticks. They count
        instead of what the location has published. `observers` are locations that only observe, and
        are to be planned as if they did not. Raises what the instance's storage raises.
        """
        with no_garbage_collection():
            return self._look(instance, now, own, observers, pace)

    def _look(
        self,
        instance: DagsterInstance,
        now: float,
        own: Contract | None,
        observers: Collection[str],
        pace: Pace | None,
    ) -> Outlook:
        last, self._last = self._last, None  # nothing is known any more if the storage fails
        news = self._watch_of(instance).look(now)
        published = self._reader.hear(news.events) if last and news else None
        if published is None:
            published, news = self._reader.read(instance), None
        problems = dict(self._reader.problems)
        contracts = dict(published)
        if own is not None:
            contracts[own.location] = self._own_contract(own, published, now, pace)
            problems.pop(own.location, None)
        gaps = self._gaps_of(contracts)
        replaced = _replaced(gaps, contracts, now)
        seen = {location: contract.published_at for location, contract in contracts.items()}
        ticks = {location: it.tick for location, it in contracts.items() if it.tick is not None}
        basis = _Basis(gaps, replaced, frozenset(observers), ticks)
        if (
            last is not None
            and news is not None
            and self._basis == basis
            and self._holds(last, news, seen, now)
            and not self._history_of(instance).differs(now)
        ):
            ahead = last.ahead.at(replace(last.snapshot, seen=seen), now)
            self._last = replace(last, ahead=ahead, published=published)
            return self._last
        if news is None or any(map(tells_of_pause, news.events)):
            self._pauses = read_pauses(instance, now)
        lineage = self._lineage_of(instance, contracts, gaps, replaced, observers)
        history = self._history_of(instance)
        snapshot = history.read(
            lineage.graph,
            now,
            seen=seen,
            since=self._first_published(contracts),
            pauses={name: pause for name, pause in self._pauses.items() if now < pause.until},
            ticks=ticks,
        )
        ahead = look_ahead(lineage, snapshot, now)
        self._basis, self._until = basis, min(ahead.plan.until, history.until)
        self._last = Outlook(
            ahead=ahead,
            published=published,
            problems=problems,
            contracts=tuple(map(_with_promises, contracts.values())),
            replaced=replaced,
            digest=gaps.digest,
            work=history.work(),
        )
        return self._last

    def _holds(self, last: Outlook, news: News, seen: Mapping[str, float], now: float) -> bool:
        """Return whether the plan of `last` still holds after `news`.

        It does if only heartbeats came, and the same locations are silent.
        """
        return (
            not news.runs
            and all(map(tells_of_contract, news.events))
            and now < self._until
            and silent_locations(last.graph, replace(last.snapshot, seen=seen), now)
            == silent_locations(last.graph, last.snapshot, last.now)
        )

    def _own_contract(
        self,
        own: Contract,
        published: Mapping[str, PublishedContract],
        now: float,
        pace: Pace | None,
    ) -> PublishedContract:
        """Return `own` as it is published, with what follows from the others.

        That is worked out only if one of the contracts has changed.
        """
        basis, last = _digest(published), published.get(own.location)
        if self._own is None or self._own[0] is not own or self._own[1] != basis:
            after = _after(last, own, published, now)
            self._own = own, basis, PublishedContract(after, now, digest(after))
        tick = last.tick if last else None
        return replace(self._own[2], published_at=now, tick=pace.tick(tick) if pace else tick)

    def _watch_of(self, instance: DagsterInstance) -> Watch:
        if self._watch is None:
            self._watch = Watch(instance)
        self._watch.reconnect(instance)
        return self._watch

    def _history_of(self, instance: DagsterInstance) -> History:
        if self._history is None:
            self._history = History(instance)
        self._history.reconnect(instance)
        return self._history

    def _lineage_of(
        self,
        instance: DagsterInstance,
        contracts: Mapping[str, PublishedContract],
        gaps: _Gaps,
        replaced: Collection[str],
        observers: Collection[str],
    ) -> Lineage:
        """Return the same object as long as nothing that it is made of changes."""
        elsewhere = self._elsewhere.find(instance, gaps.unexplained, gaps.outside, contracts.keys())
        basis = gaps.digest, tuple(elsewhere), frozenset(replaced), frozenset(observers)
        if self._lineage is None or self._lineage[0] != basis:
            given = map(_with_promises, contracts.values())
            graph = graph_of(given, silent=replaced, elsewhere=elsewhere, observers=observers)
            self._lineage = basis, lineage_of(graph)
        return self._lineage[1]

    def _gaps_of(self, contracts: Mapping[str, PublishedContract]) -> _Gaps:
        """Return the same object as long as no contract changes."""
        content = _digest(contracts)
        if self._gaps is None or self._gaps.digest != content:
            given = [contract.contract for contract in contracts.values()]
            twice = list(_claimed_twice(contracts))
            self._gaps = _Gaps(content, unexplained(given), made_outside(given), twice)
        return self._gaps

    def _first_published(self, contracts: Mapping[str, PublishedContract]) -> dict[str, float]:
        """Return when each location's present contract was first published, as far as seen."""
        self._since = {
            location: known
            if (known := self._since.get(location)) and known[0] == contract.digest
            else (contract.digest, contract.published_at)
            for location, contract in contracts.items()
        }
        return {location: since for location, (_, since) in self._since.items()}


def _replaced(
    gaps: _Gaps, contracts: Mapping[str, PublishedContract], now: float
) -> dict[str, str]:
    """Return the silent locations that claim what a location which is not silent makes.

    Each with a sentence that says so, and what to do.
    """
    silent = {
        location
        for location, contract in contracts.items()
        if is_silent(contract.published_at, contract.tick or contract.contract.tick_seconds, now)
    }
    return {
        location: f"{location} is silent, and {rival} makes its {key} now; if it was renamed, "
        f"or is gone for good: freshline retire {location}"
        for key, location, rival in reversed(gaps.claimed_twice)
        if location in silent and rival not in silent
    }


def _claimed_twice(
    contracts: Mapping[str, PublishedContract],
) -> Iterator[tuple[str, str, str]]:
    """Yield each key that two locations make, with both locations, once in each order."""
    makers: dict[str, list[str]] = {}
    for location, published in contracts.items():
        for export in published.contract.exports:
            if not export.observed:
                makers.setdefault(export.key, []).append(location)
    for key, locations in sorted(makers.items()):
        for one in locations:
            for other in locations:
                if one != other:
                    yield key, one, other


def _after(
    last: PublishedContract | None,
    own: Contract,
    published: Mapping[str, PublishedContract],
    now: float,
) -> Contract:
    """Return `own`, which comes after the contract `last`, with what follows from that.

    These are the keys that the location does not make any more and that some location still needs,
    and since when each policy is there.
    """
    since = last.contract.promised if last else {}
    policies = [export.key for export in own.exports if export.policy]
    policies.extend(watched.key for watched in own.watched)
    promised = {key: since.get(key, now) for key in sorted(policies)}
    gone: set[str] = set()
    if last is not None:
        gone = {*last.contract.by_key, *last.contract.gone} - own.by_key.keys()
    if gone:
        contracts = [own, *(it.contract for it in published.values())]
        gone &= {needed.key for contract in contracts for needed in contract.imports}
    return own.model_copy(update={"gone": tuple(sorted(gone)), "promised": promised})


def _with_promises(published: PublishedContract) -> Contract:
    """Return a contract that says since when each policy is there, also if it is an older one."""
    contract = published.contract
    policies = {export.key for export in contract.exports if export.policy}
    if policies <= contract.promised.keys():
        return contract
    since = dict.fromkeys(policies, published.content_at or published.published_at)
    return contract.model_copy(update={"promised": {**since, **contract.promised}})


def _digest(contracts: Mapping[str, PublishedContract]) -> str:
    lines = "\n".join(f"{name} {contracts[name].digest}" for name in sorted(contracts))
    return sha256(lines.encode()).hexdigest()[:16]
