"""Which version of an asset is current, and which data time each version has.

The data time of a version never changes, so it is worked out once and remembered, within a
bound. It follows the exact versions consumed (`dagster/input_event_pointer/...`), across
locations, up to the roots:

- a root (no input in any location): its metadata `freshline/data_time`, else its step's
  start, else its run's start; if it was reported outside a run: its metadata, else its own time;
- any other asset: the oldest data time among the versions that it read. It is unknown if an
  input has no pointer or a version is gone.

Versions of partitions are the matter of `freshline.history.partitions`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from freshline.history.events import EventLog, Materialized
from freshline.history.partitions import Partitions
from freshline.history.runs import Runs
from freshline.model import Asset, Graph, data_time_of

__all__ = ["Versions"]

_REMEMBERED: Final = 20_000  # versions, some 300 bytes each; or `_RECENT` an asset if that is more
_RECENT: Final = 4  # newest versions of an asset: a step in progress may have read any of them


@dataclass(slots=True)
class _Fact:
    made: Materialized
    added: bool = False
    """False for a version that was read only because another was made from it."""
    resolved: bool = False
    """Whether `data_time` was worked out."""
    data_time: float | None = None


class Versions:
    """Remembers versions. Reads older ones from `log`, and from `runs` when a root's step began."""

    def __init__(self, log: EventLog, runs: Runs) -> None:
        self._log = log
        self._runs = runs
        self._facts: OrderedDict[int, _Fact] = OrderedDict()
        self._recent: dict[str, list[int]] = {}
        self._dependencies: Mapping[str, frozenset[str]] = {}
        self._graph: Graph | None = None
        self.partitions = Partitions(log, runs, self)

    # --- what is known --------------------------------------------------------------------

    def __contains__(self, version: int) -> bool:
        fact = self._facts.get(version)
        return fact is not None and fact.added

    def add(self, made: Materialized) -> bool:
        """Note a version. Return whether it is now its asset's current one."""
        self._remember(made).added = True
        self.partitions.add(made)
        recent = self._recent.setdefault(made.key, [])
        if made.id in recent:
            return recent[-1] == made.id
        recent.append(made.id)
        recent.sort()
        del recent[:-_RECENT]
        return recent[-1] == made.id

    def wipe(self, key: str) -> None:
        """Note that the asset has no version. What was made from it keeps its data time."""
        self._recent.pop(key, None)
        self.partitions.look_again(key)

    def current(self, key: str) -> Materialized | None:
        """Return the current version of the asset."""
        recent = self._recent.get(key)
        return self._facts[recent[-1]].made if recent else None

    def current_at(self, key: str, time: float) -> Materialized | None:
        """Return the version that was current at `time`: a step that started then has read it."""
        for version in reversed(self._recent.get(key, ())):
            fact = self._facts.get(version)
            if fact is not None and fact.made.at <= time:
                return fact.made
        return None

    def get(self, version: int) -> Materialized | None:
        """Return the version with this id, if it is remembered."""
        fact = self._facts.get(version)
        return fact.made if fact else None

    def forget_old(self, assets: int) -> None:
        """Forget the oldest versions beyond the bound, but no recent ones of any asset."""
        excess = len(self._facts) - max(_REMEMBERED, _RECENT * assets)
        for version in list(self._facts)[: max(0, excess)]:
            made = self._facts[version].made
            if version in self._recent.get(made.key, ()):
                self._facts.move_to_end(version)
            else:
                del self._facts[version]

    def _remember(self, made: Materialized) -> _Fact:
        fact = self._facts.get(made.id)
        if fact is None:
            fact = self._facts[made.id] = _Fact(made)
        return fact

    # --- data time ------------------------------------------------------------------------

    def follow(self, graph: Graph) -> None:
        """Use the dependencies of `graph` from now on."""
        if graph is self._graph:
            return
        self._graph = graph
        dependencies = {
            key: frozenset(asset.deps) - graph.undated
            for key, asset in graph.assets.items()
            if not asset.elsewhere
        }
        others = dependencies != self._dependencies
        self._dependencies = dependencies
        if self.partitions.follow(graph) or others:
            self.work_out_again()

    def work_out_again(self) -> None:
        """Forget all data times, because something else has changed that they depend on."""
        for fact in self._facts.values():
            fact.resolved = False

    def data_times(self, versions: Iterable[int]) -> dict[int, float | None]:
        """Return the data time of each version; None: unknown."""
        wanted = list(versions)
        self._fetch_missing(wanted)
        return {version: self._resolve(version) for version in wanted}

    def _fetch_missing(self, versions: Iterable[int]) -> None:
        """Read, level by level, every version that the data times depend on."""
        level = set(versions)
        visited: set[int] = set()
        while level:
            missing = level - self._facts.keys()
            if missing:
                for made in self._log.materializations_by_id(missing):
                    self._remember(made)
            visited |= level
            level = {
                consumed
                for version in level
                if (fact := self._facts.get(version)) and not fact.resolved
                for consumed in self._plain_inputs(fact.made).values()
                if consumed is not None and consumed not in visited
            }

    def _resolve(self, version: int) -> float | None:
        """Work out the data time of a version after those of all that it depends on.

        The stack is a list, because a chain of versions may be longer than Python's own stack.
        """
        stack = [version]
        while stack:
            fact = self._facts.get(stack[-1])
            if fact is None or fact.resolved:
                stack.pop()
                continue
            # An input is always older than what was made from it: no cycle is possible.
            waiting = [
                consumed
                for consumed in self._plain_inputs(fact.made).values()
                if consumed is not None
                and consumed < fact.made.id
                and (below := self._facts.get(consumed)) is not None
                and not below.resolved
            ]
            if waiting:
                stack.extend(waiting)
                continue
            fact.data_time = self._work_out(fact.made)
            fact.resolved = True
            stack.pop()
        fact = self._facts.get(version)
        return fact.data_time if fact else None

    def _work_out(self, made: Materialized) -> float | None:
        if made.key in self.partitions:
            return self.partitions.data_time(made)
        inputs = self._inputs(made)
        if not inputs:
            return self._root_data_time(made)
        if made.data_time is not None and not made.run_id:
            # Reported by hand, with the data time stated; never later than the version itself.
            return min(made.data_time, made.at)
        return data_time_of(self._input_data_time(made, dep, read) for dep, read in inputs.items())

    def _input_data_time(self, made: Materialized, dep: str, read: int | None) -> float | None:
        """Return the data time of the version `read` of `dep`, from which `made` was made."""
        if dep in self.partitions:
            position = read if read is not None and read < made.id else None
            return self.partitions.read_at(self._asset(made.key), None, dep, position)
        fact = self._facts.get(read) if read is not None else None
        # A version that is not older cannot have been read: then the pointer is wrong.
        return fact.data_time if fact and fact.made.id < made.id else None

    def _root_data_time(self, made: Materialized) -> float | None:
        if made.data_time is not None:
            return min(made.data_time, made.at)  # never later than the version itself
        if not made.run_id:
            return made.at
        started = self._runs.step_started(made.run_id, made.step)
        return None if started is None else min(started, made.at)

    def _inputs(self, made: Materialized) -> dict[str, int | None]:
        """Return the version that was read of each input.

        The contract says which inputs there are. Without one, the materialization does.
        """
        consumed = dict(made.consumed)
        dependencies = self._dependencies.get(made.key)
        if dependencies is None:
            return consumed
        return {key: consumed.get(key) for key in dependencies}

    def read_by(self, made: Materialized) -> dict[str, int | None]:
        """Return what a version was made from: the id of the newest version of each input then."""
        return self._inputs(made)

    def _plain_inputs(self, made: Materialized) -> dict[str, int | None]:
        """Return the versions that were read of the inputs without partitions."""
        if made.key in self.partitions:
            return {}
        return {dep: read for dep, read in self._inputs(made).items() if dep not in self.partitions}

    def _asset(self, key: str) -> Asset | None:
        return self._graph.assets.get(key) if self._graph else None
