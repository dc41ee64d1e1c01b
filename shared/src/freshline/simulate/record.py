"""What the event log of a simulated workspace would say: versions, failures, data times."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from math import inf

from freshline.model import (
    NEVER_RUN,
    AssetState,
    NothingNew,
    Pending,
    Phase,
    Version,
    data_time_of,
)
from freshline.planner import Lineage
from freshline.planner.moments import remember
from freshline.simulate.data import Data, Read
from freshline.simulate.partitions import Partition, Partitions
from freshline.simulate.scenario import Scenario
from freshline.windows import Window

__all__ = ["NO_PARTITION", "Record"]

NO_PARTITION = ("",)
"""The partitions of an asset that has none."""


class Record:
    """The states of all assets. A partition is named by its key; "" is an asset without any."""

    def __init__(self, scenario: Scenario) -> None:
        self.states: dict[str, AssetState] = {}
        self.versions: dict[str, list[tuple[float, float | None]]] = {}
        """For each asset: when each version appeared, and its data time. A data time that moved
        on without a version is there too."""
        self.changes = 0
        """Goes up with every change of a state or of the graph."""
        self._scenario = scenario
        self._version_ids = count(1)
        self._data: dict[str, Data] = {}
        """What the newest version holds, of each asset without partitions."""
        self._partitions: dict[str, Partitions] = {}
        self._views: dict[str, list[str]] = {}
        """The views that read an asset, itself or through other views."""
        self._read_from: dict[str, tuple[str, ...]] = {}
        """What each asset reads; see `_inputs`."""
        self._running: dict[tuple[str, str], Data] = {}
        """What the runs in progress make, by key and partition."""
        self._moves = 0
        """How often a source was found unchanged."""

    def follow(self, lineage: Lineage) -> None:
        """Use `lineage` from now on."""
        self.changes += 1
        self._lineage = lineage
        self._assets = lineage.graph.assets
        self._partitions = {
            key: self._partitions.get(key) or Partitions(asset, self._scenario.dynamic)
            for key, asset in self._assets.items()
            if asset.partitioned
        }
        self._read_from.clear()
        self._views.clear()
        for key, asset in self._assets.items():
            for name in self._inputs(key) if asset.view else ():
                self._views.setdefault(name, []).append(key)

    def bring_up_to(self, now: float) -> None:
        """Bring the states up to `now`: partitions come into being as time passes."""
        for key, partitions in self._partitions.items():
            parts = partitions.parts(now, self._moves)
            last = partitions.last_data_time(now, self._moves)
            state = self.states.get(key, NEVER_RUN)
            if (parts, last) != (state.parts, state.last_data_time):
                self.states[key] = replace(state, parts=parts, last_data_time=last)

    # --- what a run reads -------------------------------------------------------------------

    def read(self, key: str, part: str, now: float) -> Data:
        """Return what a run that starts now makes of a partition of `key`."""
        inputs = self._inputs(key)
        if not inputs:
            return Data(inf if self._assets[key].static else now, ())
        reads = [read for dep in inputs for read in self._read_input(key, part, dep, now)]
        return Data(now, reads)

    def ready_at(self, key: str, parts: Sequence[str]) -> float | None:
        """Return when the newest version was made that a run of `parts` reads; None: no input."""
        times: list[float | None] = []
        for dep in self._inputs(key):
            if dep in self._partitions:
                spans = [self._span(key, part, dep) for part in parts]
                times.extend(self._partitions[dep].newest_at(span) for span in spans)
            elif version := self.states.get(dep, NEVER_RUN).version:
                times.append(version.at)
        return max((time for time in times if time is not None), default=None)

    def _inputs(self, key: str) -> tuple[str, ...]:
        """Return what `key` reads from outside its execution set.

        Instead of a view, that is what the view reads.
        """
        known = self._read_from.get(key)
        if known is None:
            known = self._read_from[key] = tuple(self._found_upstream(key))
        return known

    def _found_upstream(self, key: str) -> Iterator[str]:
        together = self._lineage.made_together[key]
        undated = self._lineage.graph.undated
        waiting = list(self._assets[key].deps)
        seen = set(waiting)
        while waiting:
            dep = waiting.pop()
            if dep in together or (dep in self._assets and self._assets[dep].view):
                more = set(self._assets[dep].deps) - seen
                seen |= more
                waiting.extend(sorted(more))
            elif dep in self._assets and dep not in undated:
                yield dep

    def _read_input(self, key: str, part: str, dep: str, now: float) -> list[Read]:
        partitions = self._partitions.get(dep)
        if partitions is None:
            return [self._data.get(dep)]
        reads = self._assets[key].reads.get(dep)
        only = self._partition(key, part).key if reads and reads.same_key and part else ""
        if reads and reads.last:
            return partitions.read_last(now, only)
        span, rows = self._span(key, part, dep), self._rows(key, part)
        if span is None or rows is None:
            return partitions.read(now, self._moves, only)
        return partitions.read_span(span, rows, now, self._moves, only)

    def _span(self, key: str, part: str, dep: str) -> Window | None:
        """Return the time of the partitions of `dep` that a partition of `key` reads; None: all."""
        asset = self._assets[key]
        reads = asset.reads.get(dep)
        window = self._partition(key, part).window if part else None
        if reads is None or reads.windows is None or window is None or asset.windows is None:
            return None
        return asset.windows.shifted(window, *reads.windows)

    def _rows(self, key: str, part: str) -> Window | None:
        return self._partition(key, part).rows if part else None

    def _partition(self, key: str, part: str) -> Partition:
        return self._partitions[key].partition(part)

    # --- what happens -----------------------------------------------------------------------

    def await_run(self, key: str, parts: Iterable[str], pending: Pending) -> None:
        """Note the run that will make `parts` of `key`."""
        if key not in self._partitions:
            self._update(key, pending=pending, last_run_id=pending.run_id)
            return
        for part in parts:
            partition = self._partition(key, part)
            partition.pending, partition.last_run_id = pending, pending.run_id
        self._update(key, last_run_id=pending.run_id)

    def start(self, key: str, part: str, data: Data, pending: Pending) -> None:
        """Note that the step has started that makes `data` of a partition of `key`."""
        self._running[key, part] = data
        data_time = data.time(self._moves)
        if data_time == inf and not self._assets[key].static:
            data_time = pending.started_at  # complete: nothing ages it
        self.await_run(key, (part,), replace(pending, data_time=data_time))

    def give_up(self, key: str, parts: Iterable[str]) -> None:
        """Note that a run did not even start the step of `key`."""
        for part in parts if key in self._partitions else ():
            self._partition(key, part).pending = None
        self._update(key, pending=None)

    def fail(self, key: str, parts: Collection[str], now: float) -> None:
        """Note that a run has failed to make `parts` of `key`."""
        for part in parts:
            self._running.pop((key, part), None)
        if key in self._partitions:
            for part in parts:
                partition = self._partition(key, part)
                partition.pending = None
                partition.failures += 1
                partition.failed_at = now
            self._update(key, nothing_new=None)
            return
        state = self.states[key]
        self._update(
            key,
            pending=None,
            failures=state.failures + 1,
            failing_since=now if state.failing_since is None else state.failing_since,
            failed_at=now,
            error="simulated failure",
            nothing_new=None,
        )

    def find_nothing(
        self, key: str, parts: Collection[str], data: Iterable[Data], now: float
    ) -> None:
        """Note that a run had nothing to make, although it could have made versions of `data`."""
        times = [one.time(self._moves) for one in data]
        self._settle(key, parts, nothing_new=NothingNew(now, data_time_of(times)))

    def materialize(
        self, key: str, made: Mapping[str, Data], phases: Mapping[Phase, float], now: float
    ) -> bool:
        """Note that a run has made the data of each partition. Return whether any is newer."""
        moves, version = self._moves, next(self._version_ids)
        improved = [self._fill(key, part, data, version, now) for part, data in made.items()]
        durations = remember(self.states[key].durations, phases)
        self._settle(key, made, durations=durations, nothing_new=None)
        self._add_version(key, version, now)
        if self._moves > moves:
            self._carry_on(now)
        return any(improved)

    def report(self, key: str, data_time: float, now: float) -> None:
        """Note that somebody outside has reported a version of `key`."""
        moves, version = self._moves, next(self._version_ids)
        self._fill(key, "", Data(data_time, ()), version, now)
        self._add_version(key, version, now)
        if self._moves > moves:
            self._carry_on(now)

    def _fill(self, key: str, part: str, data: Data, version: int, now: float) -> bool:
        """Take in what a version holds. Return whether it is newer than what was there."""
        asset = self._assets[key]
        if asset.view:
            known = self.states[key].version
            return known is None or known.code_version != asset.code_version
        if key not in self._partitions:
            old, complete, end = self._data.get(key), False, inf
        else:
            partition = self._partition(key, part)
            old, complete = (
                partition.data,
                self._partitions[key].is_complete(partition, self._moves),
            )
            end = partition.rows.end if partition.rows else inf
        before = old.time(self._moves) if old else None
        if old is not None and self._is_unchanged(key, old, data, end):
            old.see_again(data.seen)
            self._moves += 1
            data = old
        if key not in self._partitions:
            self._data[key] = data
        else:
            partition.data, partition.version, partition.at = data, version, now
        after = data.time(self._moves)
        return not complete and after is not None and (before is None or after > before)

    def _is_unchanged(self, key: str, old: Data, data: Data, end: float) -> bool:
        """Return whether no row came between two looks at a source; none counts after `end`."""
        return data.of_source and any(
            quiet.asset == key and quiet.begin <= old.seen and min(data.seen, end) <= quiet.end
            for quiet in self._scenario.quiet
        )

    # --- what follows from it ---------------------------------------------------------------

    def _settle(self, key: str, parts: Collection[str], **changes: object) -> None:
        """Note that a run of `parts` has ended, and not failed."""
        for part in parts:
            self._running.pop((key, part), None)
        if key in self._partitions:
            for part in parts:
                partition = self._partition(key, part)
                partition.pending, partition.failures, partition.failed_at = None, 0, None
            self._update(key, **changes)
            return
        self._update(
            key,
            pending=None,
            failures=0,
            failing_since=None,
            failed_at=None,
            error=None,
            **changes,
        )

    def _add_version(self, key: str, version: int, now: float) -> None:
        data_time = self._data_time(key, now)
        code_version = self._assets[key].code_version
        self._update(key, version=Version(version, now, data_time, code_version=code_version))
        self.versions.setdefault(key, []).append((now, data_time))
        for view in self._views.get(key, ()):
            self._move(view, now)

    def _carry_on(self, now: float) -> None:
        """Move on the data time of all that was made from a source that has not changed."""
        for (key, part), data in self._running.items():
            state = self.states[key]
            pending = self._partition(key, part).pending if part else state.pending
            if pending:
                self.start(key, part, data, pending)
        for key in self.states:
            if not self._assets[key].view:
                self._move(key, now)
        for view in {view for views in self._views.values() for view in views}:
            self._move(view, now)

    def _move(self, key: str, now: float) -> None:
        """Set the data time that the newest version of `key` has by now."""
        version = self.states.get(key, NEVER_RUN).version
        data_time = self._data_time(key, now) if version else None
        if version is None or data_time == version.data_time:
            return
        since = version.unchanged_since
        if not self._assets[key].view and since is None:
            since = version.data_time
        self._update(key, version=replace(version, data_time=data_time, unchanged_since=since))
        self.versions[key].append((now, data_time))

    def _data_time(self, key: str, now: float) -> float | None:
        if key in self._partitions:
            return self._partitions[key].data_time(now, self._moves)
        if not self._assets[key].view:
            return self._data[key].time(self._moves)
        inputs = [self.states.get(name, NEVER_RUN).version for name in self._inputs(key)]
        if not inputs:
            return now
        return data_time_of(version.data_time if version else None for version in inputs)

    def _update(self, key: str, **changes: object) -> None:
        self.states[key] = replace(self.states.get(key, NEVER_RUN), **changes)  # type: ignore[arg-type]
        self.changes += 1
