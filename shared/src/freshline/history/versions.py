"""Which version of an asset is current, what each version read, and which data time it has.

What a version read never changes, nor does the data time that follows from it. So both are worked
out once and remembered, within a bound. They follow the exact versions consumed, across locations,
up to the roots:

- a root (no input in any location): its metadata `freshline/data_time`, else its step's start, else
  its run's start; if it was reported outside a run: its metadata, else its own time. What is made
  outside the workspace may state its data time as `dagster/last_updated_timestamp` too. An
  observation of it is a version like any other;
- any other asset: the oldest data time among the versions that it read. It is unknown if an
  input has no pointer or a version is gone. Dagster records what was read
  (`dagster/input_event_pointer/...`), except where something else is nearer to the truth: of what
  is made outside, the newest version or observation counts that was there when the step began; in
  place of a view, what the view reads counts.

Versions of partitions are the matter of `freshline.history.partitions`. Data that has not changed
moves on: see `freshline.history.unchanged`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from freshline.history.events import EventLog
from freshline.history.materialized import Materialized
from freshline.history.partitions import Partitions
from freshline.history.run_events import Start
from freshline.history.runs import Runs
from freshline.history.unchanged import Unchanged
from freshline.model import Asset, Graph, data_time_of

__all__ = ["Versions"]

_REMEMBERED: Final = 20_000  # versions, some 300 bytes each; or `_RECENT` an asset if that is more
_RECENT: Final = 4  # newest versions of an asset: a step in progress may have read any of them
_SEARCHED: Final = 50  # versions looked at for one that is older than a step, where clocks decide


@dataclass(slots=True)
class _Fact:
    made: Materialized
    added: bool = False
    """False for a version that was read only because another was made from it."""
    read: Mapping[str, int | None] | None = None
    """The version that was read of each input; None: not worked out."""
    resolved: bool = False
    """Whether `data_time` was worked out."""
    data_time: float | None = None
    """By what it read itself."""
    moved: float | None = None
    """With what is known to be unchanged since, as of `epoch`."""
    epoch: int = -1


class Versions:
    """Remembers versions. Reads older ones from `log`, and from `runs` when a step began."""

    def __init__(self, log: EventLog, runs: Runs) -> None:
        self._log = log
        self._runs = runs
        self._facts: OrderedDict[int, _Fact] = OrderedDict()
        self._recent: dict[str, list[int]] = {}
        self._unchanged = Unchanged(log)
        self._assets: Mapping[str, Asset] = {}
        self._dependencies: Mapping[str, frozenset[str]] = {}
        self._outside: frozenset[str] = frozenset()
        self._graph: Graph | None = None
        self.changes = 0
        """Counts how often a version was added or wiped."""
        self.partitions = Partitions(log, runs, self)

    # --- what is known --------------------------------------------------------------------

    def __contains__(self, version: int) -> bool:
        fact = self._facts.get(version)
        return fact is not None and fact.added

    def add(self, made: Materialized) -> bool:
        """Note a version. Return whether it is now its asset's current one."""
        if made.observed and not self.is_observable(made.key):
            self.note(made)
            return False
        self._remember(made).added = True
        self.changes += 1
        self.partitions.add(made)
        recent = self._recent.setdefault(made.key, [])
        if made.id in recent:
            return recent[-1] == made.id
        if made.key in self.partitions:
            pass  # versions that follow each other are of different partitions
        elif recent and made.id < recent[-1]:  # committed late
            self._unchanged.add_late(made)
        else:
            self._unchanged.add(made)
        recent.append(made.id)
        recent.sort()
        del recent[:-_RECENT]
        return recent[-1] == made.id

    def note(self, observed: Materialized) -> None:
        """Note an observation of what the workspace makes: it may say that nothing has changed."""
        if observed.data_time is not None and not self.is_observable(observed.key):
            self._remember(observed).added = True
            self._unchanged.note(observed)

    def wipe(self, key: str) -> None:
        """Note that the asset has no version. What was made from it keeps its data time."""
        self._recent.pop(key, None)
        self.changes += 1
        self.partitions.look_again(key)
        self._unchanged.forget(key)

    def current(self, key: str) -> Materialized | None:
        """Return the current version of the asset."""
        recent = self._recent.get(key)
        return self._facts[recent[-1]].made if recent else None

    def current_at(self, key: str, start: Start) -> Materialized | None:
        """Return the version that was current at `start`: a step that began then has read it."""
        for version in reversed(self._recent.get(key, ())):
            fact = self._facts.get(version)
            if fact is not None and start.is_after(fact.made):
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
            if made.data_version is not None:
                self._unchanged.possible = True
        return fact

    # --- the graph ------------------------------------------------------------------------

    def follow(self, graph: Graph) -> set[str]:
        """Use the dependencies of `graph` from now on.

        Return the assets of which observations count now and did not, or the other way round: what
        is known of them is forgotten.
        """
        if graph is self._graph:
            return set()
        before, known = self._outside, self._graph is not None
        self._graph = graph
        self._assets = graph.assets
        self._outside = frozenset(
            key for key, asset in graph.assets.items() if asset.elsewhere or asset.observed
        )
        dependencies = {
            key: frozenset(_inputs_of(asset, graph))
            for key, asset in graph.assets.items()
            if not asset.elsewhere
        }
        changed = set(before ^ self._outside) if known else set()
        for key in changed:
            self.wipe(key)
        others = dependencies != self._dependencies
        self._dependencies = dependencies
        if self.partitions.follow(graph) or others or changed:
            self.work_out_again()
        return changed

    def work_out_again(self) -> None:
        """Forget all data times, because something else has changed that they depend on."""
        for fact in self._facts.values():
            fact.read, fact.resolved, fact.epoch = None, False, -1

    @property
    def may_move(self) -> bool:
        """Whether the data time of any version may move on, because data have not changed."""
        return self._unchanged.possible

    def is_observable(self, key: str) -> bool:
        """Return whether an observation of the asset is a version of it: it is made outside."""
        return key in self._outside or key not in self._assets

    def inputs(self, key: str) -> frozenset[str]:
        """Return the assets whose data times are that of `key`: views stand for what they read."""
        return self._dependencies.get(key, frozenset())

    # --- what was read --------------------------------------------------------------------

    def read_at(
        self, key: str, start: Start, consumed: Mapping[str, int | None]
    ) -> dict[str, int | None]:
        """Return the version that a step that began at `start` read of each input of `key`.

        `consumed` is what Dagster has found, as far as it is known.
        """
        return {
            dep: consumed.get(dep)
            if dep in consumed and self._is_pointed_at(key, dep)
            else self._newest_at(dep, consumed.get(dep), start)
            for dep in self.inputs(key)
        }

    def _is_pointed_at(self, key: str, dep: str) -> bool:
        """Return whether Dagster's own pointer says best what `key` has read of `dep`."""
        return dep in self._assets[key].deps and not self.is_observable(dep)

    def _newest_at(self, key: str, pointer: int | None, start: Start) -> int | None:
        """Return the newest version of `key` at `start`; it is `pointer` or newer."""
        newest = self.current_at(key, start)
        if newest is None:
            found = self._log.newest_before(
                key,
                start.position,
                _SEARCHED if start.position is None else 1,
                observations=self.is_observable(key),
            )
            newest = next((made for made in found if start.is_after(made)), None)
        if newest is None or (pointer is not None and newest.id < pointer):
            return pointer
        return self._remember(newest).made.id

    def _newest_before(self, key: str, limit: int) -> Materialized | None:
        """Return the newest version of `key` with an id below `limit`."""
        # What is known of an asset has no gap: its newest versions, and each that has come since.
        for version in reversed(self._recent.get(key, ())):
            if version < limit:
                return self._facts[version].made
        found = self._log.newest_before(key, limit, observations=self.is_observable(key))
        return self._remember(found[0]).made if found else None

    def _read_by(self, fact: _Fact) -> Mapping[str, int | None]:
        """Return the version that was read of each input.

        The contract says which inputs there are. Without one, the materialization does.
        """
        if fact.read is None:
            fact.read = self._work_out_read(fact.made)
        return fact.read

    def _work_out_read(self, made: Materialized) -> Mapping[str, int | None]:
        if made.observed:
            return {}
        consumed = dict(made.consumed)
        dependencies = self._dependencies.get(made.key)
        if dependencies is None:
            return consumed
        pointed = {dep for dep in dependencies if self._is_pointed_at(made.key, dep)}
        start = None
        if made.run_id and pointed != dependencies:
            start = self._runs.start(made.run_id, made.step)
        if start is None:
            return {dep: consumed.get(dep) for dep in dependencies}
        read = self.read_at(made.key, start, {**dict.fromkeys(pointed), **consumed})
        for dep in dependencies - pointed:
            own = self._newest_before(dep, made.id)
            if own is not None and (own.run_id, own.step) == (made.run_id, made.step):
                read[dep] = own.id  # the step itself has made it before
        return read

    def read_by(self, made: Materialized) -> Mapping[str, int | None]:
        """Return what a version was made from: the id of the newest version of each input then."""
        fact = self._facts.get(made.id)
        return self._read_by(fact) if fact else self._work_out_read(made)

    def _plain_read_by(self, fact: _Fact) -> Iterator[int]:
        """Yield the versions that were read of the inputs without partitions."""
        if fact.made.key not in self.partitions:
            for dep, version in self._read_by(fact).items():
                if version is not None and dep not in self.partitions:
                    yield version

    # --- data time ------------------------------------------------------------------------

    def data_times(self, versions: Iterable[int]) -> dict[int, float | None]:
        """Return the data time of each version by what it read itself; None: unknown."""
        wanted = list(versions)
        new = [version for version in wanted if not self._is_resolved(version)]
        if new:
            self._fetch_missing(new)
            for version in new:
                self._resolve(version)
        return {version: self._own(version) for version in wanted}

    def _is_resolved(self, version: int) -> bool:
        fact = self._facts.get(version)
        return fact is not None and fact.resolved

    def _own(self, version: int) -> float | None:
        fact = self._facts.get(version)
        return fact.data_time if fact else None

    def _fetch_missing(self, versions: Iterable[int]) -> None:
        """Read, level by level, every version that the data times depend on."""
        level = set(versions)
        visited: set[int] = set()
        while level:
            self._fetch(level)
            visited |= level
            level = {
                consumed
                for version in level
                if (fact := self._facts.get(version)) and not fact.resolved
                for consumed in self._plain_read_by(fact)
                if consumed not in visited
            }

    def _fetch(self, versions: set[int]) -> None:
        # Not `versions - self._facts.keys()`: that goes through all facts.
        missing = {version for version in versions if version not in self._facts}
        if missing:
            for made in self._log.materializations_by_id(missing):
                self._remember(made)

    def _resolve(self, version: int) -> None:
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
                for consumed in self._plain_read_by(fact)
                if consumed < fact.made.id
                and (below := self._facts.get(consumed)) is not None
                and not below.resolved
            ]
            if waiting:
                stack.extend(waiting)
                continue
            fact.data_time = self._work_out(fact)
            fact.resolved = True
            stack.pop()

    def _work_out(self, fact: _Fact) -> float | None:
        if fact.made.key in self.partitions:
            return self.partitions.data_time(fact.made)
        stated = self._stated(fact)
        if stated is not None:
            return stated
        read = self._read_by(fact)
        if not read:
            return self._root_data_time(fact.made)
        return data_time_of(
            self._input_data_time(fact.made, dep, version) for dep, version in read.items()
        )

    def _stated(self, fact: _Fact) -> float | None:
        """Return the data time that a version states, if that counts; never later than itself."""
        made = fact.made
        if made.run_id and self._read_by(fact):
            return None
        stated = made.data_time
        if stated is None and self.is_observable(made.key):
            stated = made.last_updated
        return None if stated is None else min(stated, made.at)

    def _input_data_time(self, made: Materialized, dep: str, read: int | None) -> float | None:
        """Return the data time of the version `read` of `dep`, from which `made` was made."""
        if dep in self.partitions:
            position = read if read is not None and read < made.id else None
            return self.partitions.read_at(self._assets.get(made.key), None, dep, position)
        fact = self._facts.get(read) if read is not None else None
        # A version that is not older cannot have been read: then the pointer is wrong.
        return fact.data_time if fact and fact.made.id < made.id else None

    def _root_data_time(self, made: Materialized) -> float | None:
        if not made.run_id:
            return made.at
        start = self._runs.start(made.run_id, made.step)
        return None if start is None else min(start.at, made.at)

    # --- data that has not changed ----------------------------------------------------------

    def moved_data_times(self, versions: Iterable[int]) -> dict[int, float | None]:
        """Return the data time of each version with what is known to be unchanged since."""
        return {version: moved for version, (moved, _) in self.both_data_times(versions).items()}

    def both_data_times(
        self, versions: Iterable[int]
    ) -> dict[int, tuple[float | None, float | None]]:
        """Return the moved data time of each version, and the one by what it read itself."""
        own = self.data_times(versions)
        if not self._unchanged.possible:
            return {version: (data_time, data_time) for version, data_time in own.items()}
        return {version: (self._move(version), data_time) for version, data_time in own.items()}

    def _move(self, version: int) -> float | None:
        """Work out the moved data time of a version after those of all that it depends on."""
        epoch = self._unchanged.epoch
        known = self._facts.get(version)
        if known is None or known.epoch == epoch:
            return known.moved if known else None
        stack = [version]
        begun: set[int] = set()
        while stack:
            fact = self._facts.get(stack[-1])
            if fact is None or fact.epoch == epoch:
                stack.pop()
                continue
            seen = list(self._seen_later(fact))
            if fact.made.id not in begun:
                # Only here may there be a cycle, if contracts form one: what is seen later may have
                # read something newer.
                begun.add(fact.made.id)
                waiting = [
                    read
                    for later in seen
                    for read in self._plain_read_by(later)
                    if (below := self._facts.get(read)) is not None
                    and below.epoch != epoch
                    and read not in begun
                ]
                if waiting:
                    stack.extend(waiting)
                    continue
            fact.moved = self._newest_of(fact, seen, epoch)
            fact.epoch = epoch
            stack.pop()
        fact = self._facts.get(version)
        return fact.moved if fact else None

    def _seen_later(self, fact: _Fact) -> Iterator[_Fact]:
        """Yield a version, and those that have the same data, with what they depend on read."""
        yield fact
        made = fact.made
        if made.key in self.partitions:
            return

        def newest_before(limit: int) -> int | None:
            found = self._newest_before(made.key, limit)
            return found.id if found else None

        later = self._unchanged.later(
            made, newest_before, observations=self.is_observable(made.key)
        )
        if later:
            self.data_times(later)
            yield from (self._facts[it] for it in later if it in self._facts)

    def _newest_of(self, fact: _Fact, seen: Iterable[_Fact], epoch: int) -> float | None:
        made = fact.made
        newest = None
        if made.key not in self.partitions:
            newest = self._unchanged.stated(made, observations=self.is_observable(made.key))
        for later in seen:
            data_time = self._moved_by_inputs(later, epoch)
            if data_time is not None and (newest is None or data_time > newest):
                newest = data_time
        return newest

    def _moved_by_inputs(self, fact: _Fact, epoch: int) -> float | None:
        made, read = fact.made, self._read_by(fact)
        if not read or made.key in self.partitions or self._stated(fact) is not None:
            return fact.data_time
        times: list[float | None] = []
        for dep, version in read.items():
            below = self._facts.get(version) if version is not None else None
            if dep in self.partitions or below is None or below.made.id >= made.id:
                times.append(self._input_data_time(made, dep, version))
            else:
                times.append(below.moved if below.epoch == epoch else below.data_time)
        return data_time_of(times)

    def data_time_of_reading(self, key: str, read: Mapping[str, int | None]) -> float | None:
        """Return the data time of what is made from `read` now; None: unknown.

        `key` is an asset without partitions; `read` has the newest version of each input.
        """
        asset = self._assets.get(key)
        plain = [
            version
            for dep, version in read.items()
            if version is not None and dep not in self.partitions
        ]
        moved = self.moved_data_times(plain)
        return data_time_of(
            self.partitions.read_at(asset, None, dep, version)
            if dep in self.partitions
            else None
            if version is None
            else moved[version]
            for dep, version in read.items()
        )


def _inputs_of(asset: Asset, graph: Graph) -> set[str]:
    """Return the nearest inputs that are no views and have a data time."""
    found: set[str] = set()
    seen = {asset.key}
    waiting = list(asset.deps)
    while waiting:
        dep = waiting.pop()
        if dep in seen or dep in graph.undated:
            continue
        seen.add(dep)
        read = graph.assets.get(dep)
        if read is not None and read.view:
            waiting.extend(read.deps)
        else:
            found.add(dep)
    return found
