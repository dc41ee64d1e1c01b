"""Which versions the partitions of each asset have, and up to when nothing is missing in them.

The data time of a partition's version is worked out once:

- a root: its metadata `freshline/data_time`, else its step's start, else its run's start;
- any other: the oldest of what it read. Windows of an input that were complete do not age it.

Dagster records of an input with partitions only the newest event of any partition: a position in
the log. What was read is what its partitions were as of that position.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

from freshline.history.events import EventLog
from freshline.history.materialized import Materialized
from freshline.history.runs import Runs
from freshline.history.series import NOW, Partition, Series, Stored
from freshline.model import Asset, Graph, Reads, inputs_first
from freshline.windows import Window, Windows

if TYPE_CHECKING:
    from freshline.history.versions import Versions

__all__ = ["Partitions"]

_MOST: Final = 10_000  # newest partitions of an asset that are followed: more than hours of a year
_LOOKED_BACK: Final = 3_000  # windows before these in which missing partitions are counted
_SHOWN: Final = 1_000  # partitions that are not complete, the oldest


@dataclass(slots=True, eq=False)
class _Followed:
    """A partitioned asset, and the partitions of it that count."""

    asset: Asset
    keys: tuple[str, ...]
    """Those of the dimension without time; ("",) if there is none."""
    begin: float
    """Partitions whose window ends before it do not count."""
    until: float
    """The end of the last window that exists."""
    names: dict[str, Partition] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    """The windows of each key; empty if it has none."""
    unresolved: dict[str, Partition] = field(default_factory=dict)
    """Partitions with a version whose data time was not worked out yet, by name."""
    strays: set[str] = field(default_factory=set)
    """Names of partitions that have versions and do not count (yet)."""
    holes: set[str] = field(default_factory=set)
    """Names of partitions that do not count and have no version."""
    newest: int = 0
    """The id of the newest version of any partition; 0: none was ever made."""
    outdated: bool = True
    """Whether the versions must be looked up again."""

    def name(self, key: str, window_name: str) -> str:
        """Return the partition key made of the keys of both dimensions."""
        keys = self.asset.keys
        if keys is None:
            return window_name
        return f"{key}|{window_name}" if keys.first else f"{window_name}|{key}"

    def exists(self, name: str) -> bool:
        """Return whether `name`, which does not count, is that of a partition all the same."""
        windows, keys = self.asset.windows, self.asset.keys
        if windows is None:
            return False
        window_name = name
        if keys is not None:
            first, _, second = name.partition("|")
            key, window_name = (first, second) if keys.first else (second, first)
            if key not in self.keys:
                return False
        window = windows.window(window_name)
        return window is not None and windows.start <= window.start and window.end <= self.begin


class Partitions:
    """Follows the partitions of the assets of a graph."""

    def __init__(self, log: EventLog, runs: Runs, versions: Versions) -> None:
        self._log = log
        self._runs = runs
        self._versions = versions
        self._graph: Graph | None = None
        self._assets: dict[str, Asset] = {}
        """All that are partitioned, inputs first: a long chain is not worked out from its end, for
        which Python's stack may be too short."""
        self._followed: dict[str, _Followed] = {}
        self._dynamic: dict[str, tuple[str, ...]] = {}
        self._now: float | None = None

    # --- following ------------------------------------------------------------------------

    def follow(self, graph: Graph) -> bool:
        """Use the partitions of `graph` from now on. Return whether data times may be others."""
        before, self._graph = self._graph, graph
        self._assets = {
            key: asset
            for key in _inputs_first(graph)
            if (asset := graph.assets[key]).partitioned and not asset.elsewhere
        }
        old = before.assets if before else {}
        changed = {
            key
            for key, asset in graph.assets.items()
            if key not in old or _definition(asset) != _definition(old[key])
        }
        relevant = {
            key
            for key in changed | (old.keys() - graph.assets.keys())
            if any(
                it.assets[key].partitioned or it.assets[key].reads
                for it in (graph, before)
                if it and key in it.assets
            )
        }
        for key in relevant:
            self._followed.pop(key, None)
        self._work_out_again(relevant)
        return bool(relevant)

    def add(self, made: Materialized) -> None:
        """Note a version."""
        followed = self._followed.get(made.key)
        if followed is None or made.partition is None:
            return
        partition = followed.names.get(made.partition)
        if partition is not None:
            partition.add(Stored(made.id))
            followed.unresolved[partition.name] = partition
        else:
            followed.strays.add(made.partition)
            followed.holes.discard(made.partition)
        if made.id > followed.newest and (partition or followed.exists(made.partition)):
            followed.newest = made.id

    def look_again(self, key: str) -> None:
        """Look the versions of an asset up again, for example because some were wiped."""
        if key in self._followed:
            self._followed[key].outdated = True

    def refresh(self, now: float) -> None:
        """Bring all partitions up to date."""
        self._now = now
        self._read_dynamic()
        windows_since: dict[tuple[object, float], list[Window]] = {}
        for key, asset in self._assets.items():
            followed = self._followed.get(key)
            if followed is None:
                followed = self._look_up(key)
            elif asset.windows is not None:
                basis = asset.windows, followed.until
                if basis not in windows_since:
                    windows_since[basis] = asset.windows.existing(followed.until, now)
                self._extend(followed, windows_since[basis])
            if followed.outdated:
                self._read_newest(followed)
            self._resolve(followed, followed.unresolved.values())

    def have_others(self) -> bool:
        """Return whether partitions were added or deleted at run time since the last `refresh`."""
        return any(
            tuple(self._log.dynamic_partitions(name)) != keys
            for name, keys in self._dynamic.items()
        )

    def _read_dynamic(self) -> None:
        names = {asset.keys.dynamic for asset in self._assets.values() if asset.keys} - {""}
        dynamic = {name: tuple(self._log.dynamic_partitions(name)) for name in sorted(names)}
        changed = {
            key
            for key, asset in self._assets.items()
            if asset.keys
            and (name := asset.keys.dynamic)
            and name in self._dynamic
            and dynamic[name] != self._dynamic[name]
        }
        self._dynamic = dynamic
        for key in changed:
            self._followed.pop(key, None)
        if changed:
            self._work_out_again(changed)
            self._versions.work_out_again()

    def _work_out_again(self, keys: Collection[str]) -> None:
        """Forget the data times of all that is made from `keys`, directly or not."""
        if not keys or self._graph is None:
            return
        below, size = set(keys), -1
        while len(below) != size:
            size = len(below)
            below.update(
                key for key, asset in self._graph.assets.items() if not below.isdisjoint(asset.deps)
            )
        for key in below & self._followed.keys():
            followed = self._followed[key]
            for partition in followed.names.values():
                for version in partition.versions:
                    version.resolved, version.data_time = False, None
            followed.unresolved = dict(followed.names)
            for series in followed.series.values():
                series.update(series.partitions)

    # --- reading --------------------------------------------------------------------------

    def _look_up(self, key: str) -> _Followed:
        """Return the partitions of an asset with the ids of their newest versions."""
        known = self._followed.get(key)
        if known is not None:
            return known
        asset = self._assets[key]
        now = time.time() if self._now is None else self._now
        keys: tuple[str, ...] = ("",)
        if asset.keys is not None:
            keys = asset.keys.static
            if name := asset.keys.dynamic:
                if name not in self._dynamic:
                    self._dynamic[name] = tuple(self._log.dynamic_partitions(name))
                keys = self._dynamic[name]
        begin = -inf if asset.promised_from is None else asset.promised_from
        if asset.windows is not None:
            most = _MOST / max(1, len(keys))
            begin = max(begin, asset.windows.start, now - most * asset.windows.longest(now))
        followed = self._followed[key] = _Followed(asset, keys, begin, until=begin)
        if asset.windows is not None:
            followed.series = {key: Series() for key in keys}
            self._extend(followed, asset.windows.existing(begin, now))
        else:
            followed.names = {name: Partition(name, name) for name in keys}
        self._read_newest(followed)
        return followed

    def _extend(self, followed: _Followed, new: Iterable[Window]) -> None:
        """Add the partitions of windows that exist now."""
        windows = followed.asset.windows
        if windows is None:
            return
        for window in new:
            data, window_name = windows.data_of(window), windows.key(window)
            for key, series in followed.series.items():
                name = followed.name(key, window_name)
                partition = Partition(name, key, window, data)
                followed.names[name] = partition
                series.append(partition, window)
                followed.outdated |= name in followed.strays
            followed.until = window.end

    def _read_newest(self, followed: _Followed) -> None:
        """Look up the newest version of each partition. What is known of others stays."""
        newest = self._log.newest_of_partitions(followed.asset.key)
        for name, partition in followed.names.items():
            id_, known = newest.get(name), partition.newest
            if id_ == (known.id if known else None):
                continue
            partition.versions = [] if id_ is None else [Stored(id_)]
            partition.from_first = id_ is None
            followed.unresolved[name] = partition
        followed.strays = set(newest) - followed.names.keys()
        followed.holes = self._old_names(followed) - newest.keys()
        followed.newest = max((newest.get(name, 0) for name in followed.names), default=0)
        for name in sorted(followed.strays, key=lambda name: -newest[name]):
            if newest[name] < followed.newest:
                break
            if followed.exists(name):
                followed.newest = newest[name]
        followed.outdated = False

    def _old_names(self, followed: _Followed) -> set[str]:
        """Return the names of the last partitions that exist and do not count."""
        windows, begin = followed.asset.windows, followed.begin
        if windows is None or begin <= windows.start:
            return set()
        first = max(windows.start, begin - _LOOKED_BACK * windows.longest(begin))
        old = [windows.key(it) for it in windows.existing(first, begin) if it.end <= begin]
        return {followed.name(key, name) for key in followed.keys for name in old}

    def _read_older(self, followed: _Followed, partitions: Sequence[Partition]) -> None:
        """Read all versions of some partitions that are older than those known."""
        wanted = {partition.name: partition for partition in partitions if not partition.from_first}
        if not wanted:
            return
        for partition in wanted.values():
            partition.from_first = True
        for made in self._log.versions_of_partitions(followed.asset.key, wanted):
            wanted[made.partition or ""].add(Stored(made.id))
        followed.unresolved.update(wanted)
        self._resolve(followed, wanted.values())

    # --- data times -----------------------------------------------------------------------

    def _resolve(
        self, followed: _Followed, partitions: Iterable[Partition], position: float = NOW
    ) -> None:
        """Work out the data times of the versions of `partitions` until `position`."""
        concerned = [it for it in partitions if it.name in followed.unresolved]
        if not concerned:
            return
        waiting = {
            version.id: (version, partition)
            for partition in concerned
            for version in partition.versions
            if not version.resolved and version.id <= position
        }
        made_by_id = self._read_versions(waiting)
        created = self._created(made_by_id.values())
        for id_ in sorted(waiting):
            version, partition = waiting[id_]
            made = made_by_id.get(id_)
            if made is None:  # its run was deleted
                partition.versions.remove(version)
            elif not version.resolved:
                version.at, version.run_id = made.at, made.run_id
                version.data_time = self._work_out(followed, partition, made, created)
                version.resolved = True
        for partition in concerned:
            if all(version.resolved for version in partition.versions):
                followed.unresolved.pop(partition.name, None)
                partition.forget_old()
        for key, series in followed.series.items():
            series.update([partition for partition in concerned if partition.key == key])

    def _read_versions(self, ids: Iterable[int]) -> dict[int, Materialized]:
        known = {id_: made for id_ in ids if (made := self._versions.get(id_)) is not None}
        unknown = [id_ for id_ in ids if id_ not in known]
        for made in self._log.materializations_by_id(unknown) if unknown else ():
            known[made.id] = made
        return known

    def _created(self, versions: Iterable[Materialized]) -> dict[str, float]:
        """Return when the runs of roots were created, whose steps began later than that.

        For most partitions that is after the end of their window: then they are complete, and the
        events of the run need not be read.
        """
        runs = {
            made.run_id
            for made in versions
            if made.run_id and made.data_time is None and not self._versions.read_by(made)
        }
        known = {
            run_id: self._runs.active[run_id].created for run_id in runs & self._runs.active.keys()
        }
        unknown = runs - known.keys()
        for record in self._log.run_records(unknown) if unknown else ():
            known[record.dagster_run.run_id] = record.create_timestamp.timestamp()
        return known

    def _work_out(
        self,
        followed: _Followed,
        partition: Partition,
        made: Materialized,
        created: Mapping[str, float],
    ) -> float | None:
        """Return the data time of a version; of one with a window, its end at the latest."""
        end = partition.data.end if partition.data else inf
        inputs = self._versions.read_by(made)
        if made.data_time is not None and (not inputs or not made.run_id):
            data_time: float | None = made.data_time
        elif inputs:
            data_time = self._of_reading(followed.asset, partition, inputs, made.id)
        elif not made.run_id:
            data_time = made.at
        elif created.get(made.run_id, -inf) >= end:
            data_time = end
        else:
            start = self._runs.start(made.run_id, made.step)
            data_time = start.at if start else None
        return None if data_time is None else min(data_time, made.at, end)

    def _of_reading(
        self,
        asset: Asset | None,
        partition: Partition | None,
        inputs: Mapping[str, int | None],
        before: float,
    ) -> float | None:
        """Return the data time of what is made from `inputs`, each as of an id in the log."""
        oldest = inf
        for dep, position in inputs.items():
            # What is not older than the version cannot have been read: then the pointer is wrong.
            known = position if position is not None and position < before else None
            reached = self.read_at(asset, partition, dep, known)
            if reached is None:
                return None
            oldest = min(oldest, reached)
        if partition is not None and partition.data is not None:
            return min(oldest, partition.data.end)
        return oldest if oldest < inf else None

    def read_at(
        self, asset: Asset | None, partition: Partition | None, dep: str, position: int | None
    ) -> float | None:
        """Return the data time of what `asset` reads of `dep`, as of an id in the log.

        `partition` is the one that is made; None: the asset has none. Infinite: nothing that it
        reads is missing. None: unknown.
        """
        reads = (asset.reads.get(dep) if asset else None) or Reads()
        if dep not in self._assets:
            return None if position is None else self._versions.data_times([position])[position]
        source = self._look_up(dep)
        keys: Sequence[str] = source.keys
        if reads.same_key and partition is not None and source.asset.keys is not None:
            keys = [partition.key] if partition.key in source.keys else []
        windows = asset.windows if asset else None
        if reads.windows and windows and partition and partition.window and source.asset.windows:
            window = windows.shifted(partition.window, *reads.windows)
            found = _oldest(self._windows_at(source, key, window, position or 0) for key in keys)
            if found is None:
                return None
            # It may have to reach further than the rows that the partition brings: another input,
            # which the partition reads earlier partitions of, brings no later ones.
            own_end = windows.data_of(partition.window).end
            return found - max(0.0, source.asset.windows.data_of(window).end - own_end)
        if position is None:
            return None
        if reads.last:
            return self._last_at(source, keys, position)
        return self._all_at(source, keys, position)

    def _windows_at(self, source: _Followed, key: str, window: Window, position: float) -> float:
        """Return up to when nothing was missing within `window`; infinite: nothing was."""
        partitions = source.series[key].within(window)
        self._read_until(source, partitions, position)
        reached = inf
        for partition in partitions:
            version = partition.at(position)
            if not partition.is_complete(version):
                reached = min(reached, partition.reach(version) or -inf)
        windows = source.asset.windows
        if windows and window.end > source.until and _has_more(windows, source.until):
            # There is no partition yet for the rest of it.
            shifted = windows.data_of(Window(source.until, source.until)).start - source.until
            reached = min(reached, max(window.start, source.until) + shifted)
        return reached

    def _all_at(self, source: _Followed, keys: Sequence[str], position: float) -> float | None:
        """Return up to when nothing was missing in any partition of `keys`."""
        if source.series:
            self._resolve(source, source.unresolved.values(), position)
            return _oldest(
                source.series[key].reach(position, lambda it: self._read_older(source, it))
                for key in keys
            )
        partitions = [source.names[key] for key in keys if key in source.names]
        self._read_until(source, partitions, position)
        return _oldest(partition.reach(partition.at(position)) for partition in partitions)

    def _last_at(self, source: _Followed, keys: Sequence[str], position: int) -> float | None:
        """Return up to when nothing was missing in the last partition.

        That is the last that existed when the version at `position` was made. If another one was
        the last when it was read, which has more, then this one did not miss anything either.
        """
        windows = source.asset.windows
        if windows is None:
            return self._all_at(source, list(keys)[-1:], position)
        made = self._read_versions([position]).get(position)
        if made is None:
            return None
        return _oldest(self._last_of(source, key, made.at, position) for key in keys)

    def _last_of(self, source: _Followed, key: str, time: float, position: float) -> float | None:
        windows = source.asset.windows
        last = source.series[key].last_at(time, windows.end_offset) if windows else None
        if last is None:
            return None
        self._read_until(source, [last], position)
        return last.reach(last.at(position))

    def _read_until(
        self, source: _Followed, partitions: Iterable[Partition], position: float
    ) -> None:
        """Make sure that it is known how `partitions` were at `position`."""
        older = [partition for partition in partitions if not partition.knows(position)]
        self._read_older(source, older)
        self._resolve(source, partitions, position)

    # --- answers --------------------------------------------------------------------------

    def __contains__(self, key: str) -> bool:
        return key in self._assets

    def data_time(self, made: Materialized) -> float | None:
        """Return the data time of a version of a partitioned asset; None: it does not count."""
        partition = self.partition(made.key, made.partition)
        if partition is None:
            return None
        followed = self._look_up(made.key)
        self._read_until(followed, [partition], made.id)
        version = partition.at(made.id)
        return version.data_time if version and version.id == made.id else None

    def data_time_of(
        self, key: str, name: str | None, inputs: Mapping[str, int | None]
    ) -> float | None:
        """Return the data time of a version that is made from `inputs` now; None: unknown.

        `inputs` has the id of the newest version of each.
        """
        asset = self._graph.assets.get(key) if self._graph else None
        partition = self.partition(key, name)
        if partition is None and key in self._assets:
            return None
        return self._of_reading(asset, partition, inputs, NOW)

    def closed_at(self, made: Materialized) -> float | None:
        """Return when the window of a version's partition had closed; None: not before it."""
        partition = self.partition_known(made.key, made.partition)
        if partition is None or partition.window is None or partition.window.end > made.at:
            return None
        return partition.window.end

    def version(self, key: str) -> Materialized | None:
        """Return the newest version of any partition."""
        newest = self._look_up(key).newest
        return self._read_versions([newest]).get(newest) if newest else None

    def partition(self, key: str, name: str | None) -> Partition | None:
        """Return a partition; None: there is none with that name that counts."""
        if key not in self._assets or name is None:
            return None
        return self._look_up(key).names.get(name)

    def partition_known(self, key: str, name: str | None) -> Partition | None:
        """Return a partition as `partition` does, if the asset has been looked up already."""
        return self.partition(key, name) if key in self._followed else None

    def newest(self, key: str) -> int:
        """Return the id of the newest version of any partition; 0: none was ever made."""
        return self._look_up(key).newest

    def reach(self, key: str) -> float | None:
        """Return up to when nothing is missing in the asset; None: unknown."""
        followed = self._look_up(key)
        return self._all_at(followed, followed.keys, NOW)

    def last_reach(self, key: str, now: float) -> float | None:
        """Return up to when nothing is missing in the last partition; None: unknown."""
        followed = self._look_up(key)
        if followed.asset.windows is None:
            return self._all_at(followed, followed.keys[-1:], NOW)
        return _oldest(self._last_of(followed, name, now, NOW) for name in followed.keys)

    def incomplete(self, key: str) -> list[Partition]:
        """Return the first partitions that are not complete; without windows, all of them."""
        followed = self._look_up(key)
        if not followed.series:
            return list(followed.names.values())
        found = [
            series.partitions[place]
            for series in followed.series.values()
            for place in series.incomplete[:_SHOWN]
        ]
        found.sort(key=lambda partition: partition.index)
        return found[:_SHOWN]

    def holes_before_promise(self, key: str) -> int:
        """Return how many partitions are missing that do not count."""
        return len(self._look_up(key).holes)


def _inputs_first(graph: Graph) -> list[str]:
    """Return all keys, each after its inputs; those on a cycle, or fed by one, last."""
    inputs = {key: graph.assets.keys() & set(asset.deps) for key, asset in graph.assets.items()}
    return list(dict.fromkeys([*inputs_first(inputs), *graph.assets]))


def _definition(asset: Asset) -> tuple[object, ...]:
    """Return what the data times of an asset and of its partitions depend on."""
    return (
        asset.windows,
        asset.keys,
        asset.promised_from,
        asset.elsewhere,
        asset.deps,
        dict(asset.reads),
    )


def _has_more(windows: Windows, until: float) -> bool:
    """Return whether there will be a window after `until`, the end of one."""
    return windows.end is None or windows.shifted(Window(until, until), 0, 1).end <= windows.end


def _oldest(reached: Iterable[float | None]) -> float | None:
    """Return the oldest of `reached`; None if one is None, or if there is none."""
    oldest: float | None = None
    for time_ in reached:
        if time_ is None:
            return None
        oldest = time_ if oldest is None else min(oldest, time_)
    return oldest
