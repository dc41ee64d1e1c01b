"""History: the instance's event log as a snapshot that the planner can read.

A process has one `History`. Each `read` adds what has happened since the last one, in a handful of
queries however many assets there are, and keeps what cannot change. Nothing is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from math import inf
from typing import Final, overload

from dagster import DagsterInstance

from freshline.history.durations import Stopwatch
from freshline.history.events import EventLog
from freshline.history.limits import Limits, LimitsReader
from freshline.history.materialized import Materialized
from freshline.history.partition_runs import PartitionRuns
from freshline.history.partition_states import PartitionStates
from freshline.history.places import Places
from freshline.history.promises import Promises
from freshline.history.run_events import PutBack
from freshline.history.runs import Answer, Runs
from freshline.history.tally import Work
from freshline.history.versions import Versions
from freshline.model import (
    DEFAULT_TICK,
    NEVER_RUN,
    Asset,
    AssetState,
    Capacity,
    Graph,
    NothingNew,
    Pause,
    Snapshot,
    Version,
    data_time_of,
)

__all__ = ["History"]

_FIRST_READ: Final = 5_000  # newest events of a kind read when nothing is known yet
_MAKERS: Final = 300  # runs that made current versions: read in addition, up to so many
_LATE_COMMIT: Final = 10.0  # seconds in which an event with a lower id may still appear
_MARKS: Final = 64  # more reads than fit into those seconds
_VERIFY_EVERY: Final = 30.0  # seconds between comparisons with the instance's own records,
_VERIFIED_AT_ONCE: Final = 50  # of so many assets each


class History:
    """Follows the event log of `instance`."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._log = EventLog(instance)
        self._runs = Runs(self._log)
        self._versions = Versions(self._log, self._runs)
        self._partitions = self._versions.partitions
        self._partition_runs = PartitionRuns(self._log, self._runs, self._partitions)
        self._limits = LimitsReader()
        self._places = Places()
        self._stopwatch = Stopwatch()
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)
        self._noted = False
        self._wipe_cursor: str | None = None
        self._known_keys: set[str] = set()
        self._answered: dict[str, tuple[Answer, Mapping[str, int | None]]] = {}
        """What there was to read for the newest answer of each asset."""
        self._keys: tuple[str, ...] = ()
        self._to_verify: deque[str] = deque()
        self._verified_at = 0.0
        self.until = -inf
        """Up to when the last snapshot stays as it is if nothing happens."""

    def reconnect(self, instance: DagsterInstance) -> None:
        """Read through `instance` from now on: each tick of a sensor has one of its own."""
        self._log.instance = instance

    def read(
        self,
        graph: Graph,
        now: float,
        seen: Mapping[str, float] | None = None,
        since: Mapping[str, float] | None = None,
        pauses: Mapping[str, Pause] | None = None,
        ticks: Mapping[str, float] | None = None,
    ) -> Snapshot:
        """Return the state at `now` (UTC, epoch seconds) of every asset in `graph`.

        `seen`, `since`, `pauses` and `ticks` go into the snapshot as they are. Raises what the
        storage raises; the next read goes on where the last complete one ended.
        """
        self._known_keys -= self._versions.follow(graph)
        self._runs.follow(graph)
        self._runs.read(now)
        self._read_versions(now)
        self._read_wipes()
        self._learn_new_assets(graph.assets.keys() - self._known_keys, now)
        self._keys = tuple(sorted(graph.assets))
        self._verify(now)
        self._partitions.refresh(now)
        self._partition_runs.follow()
        limits = self._limits.read(self._log.instance, graph.pools, now)
        put_back = self._runs.put_back(now - limits.tried_again_within)
        over = [last.at + limits.tried_again_within for last in put_back.values()]
        self.until = min([self._runs.promised_until(), *over])
        self._learn_durations(graph, limits, ticks or {})
        states = self._states(graph, now, put_back)
        snapshot = Snapshot(
            states,
            dict(seen or {}),
            dict(since or {}),
            dict(pauses or {}),
            dict(ticks or {}),
            capacity=self._capacity(limits, states),
        )
        self._versions.forget_old(len(graph.assets))
        return snapshot

    def work(self) -> Mapping[str, Work]:
        """Return how much was run in each location since the first read."""
        return self._runs.tally.by_location()

    def differs(self, now: float) -> bool:
        """Return whether something has changed of which no event tells, as far as was looked.

        Then the next `read` takes it over.
        """
        versions = self._versions.changes
        self._verify(now)
        return (
            self._versions.changes != versions
            or self._partitions.have_others()
            or self._limits.differ(self._log.instance, now)
        )

    def data_time_read(
        self,
        graph: Graph,
        key: str,
        partitions: Iterable[str | None],
        run_id: str,
        step: str,
        consumed: Mapping[str, int | None],
        made: Mapping[str, float | None],
    ) -> float | None:
        """Return the data time of what a step that has not ended has read for the asset `key`.

        `partitions` are those that it makes, (None,) if the asset has none. `consumed` is the
        newest version of each input that Dagster has found, and `made` has the data time of what
        the step has made already. None: it is unknown, or `key` is a root.
        """
        if not self._noted:
            self._noted = True
            self._versions.follow(graph)
            for observed in self._log.newest_observations(_FIRST_READ):
                self._versions.note(observed)
        start = self._runs.start(run_id, step)
        if start is None:
            return None
        read = self._versions.read_at(key, start, consumed)
        times = [made[dep] for dep in read if dep in made]
        before = {dep: version for dep, version in read.items() if dep not in made}
        if before and key in self._partitions:
            times.extend(self._partitions.data_time_of(key, name, before) for name in partitions)
        elif before:
            times.append(self._versions.data_time_of_reading(key, before))
        return data_time_of(times)

    # --- reading what is new --------------------------------------------------------------

    def _read_versions(self, now: float) -> None:
        """Read from where the log ended some seconds ago, not from where the last read ended.

        An id is assigned before its event is committed, so a lower id may appear after a higher.
        """
        if not self._marks:
            self._wipe_cursor = self._log.latest_wipe()
            self._marks.append((now, self._read_newest()))
            return
        while len(self._marks) > 1 and now - self._marks[1][0] >= _LATE_COMMIT:
            self._marks.popleft()
        after, newest = self._marks[0][1], self._marks[-1][1]
        made = [*self._log.materializations_after(after), *self._log.observations_after(after)]
        for version in sorted(made, key=_id):
            if version.id not in self._versions:
                self._add(version)
            newest = max(newest, version.id)
        self._marks.append((now, newest))

    def _read_newest(self) -> int:
        """Read the newest versions of all assets. Return where the log ends; 0: it is empty."""
        made = self._log.newest_materializations(_FIRST_READ)
        observed = self._log.newest_observations(_FIRST_READ)
        # Of what has versions of both kinds, both are known from here on.
        complete_from = max(it[0].id if len(it) == _FIRST_READ else 0 for it in (made, observed))
        end = made[-1].id if made else 0
        if observed and observed[-1].id > end:
            # Where the log ends: a source may be observed all day long and nothing be made.
            made.extend(self._log.materializations_after(end))
            end = observed[-1].id
        for version in sorted([*made, *observed], key=_id):
            if version.id >= complete_from or not self._versions.is_observable(version.key):
                self._add(version)
        return end

    def _add(self, made: Materialized) -> None:
        if self._versions.add(made):
            self._runs.add_current_version(made)
        self._partition_runs.add_version(made)

    def _read_wipes(self) -> None:
        wiped, cursor = self._log.wiped_after(self._wipe_cursor)
        for key in wiped:
            self._partitions.look_again(key)
        self._verify_all(wiped, certain=True)
        self._wipe_cursor = cursor

    def _learn_new_assets(self, keys: set[str], now: float) -> None:
        """Learn what the log says about assets that were not in the graph before."""
        if not keys:
            return
        latest = self._verify_all(keys, certain=True)
        old_runs = {
            run_id
            for made, run_id in latest.values()
            if run_id and (made is None or made.run_id != run_id)
        }
        # The runs that made the current versions are read however old they are: their durations
        # say when to start next time, and what is made once a day is often the slowest.
        current = sorted((made for made, _ in latest.values() if made), key=lambda made: -made.id)
        makers = list(dict.fromkeys(made.run_id for made in current if made.run_id))[:_MAKERS]
        self._runs.read_runs(old_runs.union(makers), now)
        for made in current:
            self._runs.add_delivery(made)
        for key, (_, run_id) in latest.items():
            self._runs.add_last_run(key, run_id)
            self._partition_runs.learn(key, now)
        self._known_keys |= keys

    def _verify(self, now: float) -> None:
        """Verify some assets in turn, so that a change without an event is noticed in the end."""
        if now - self._verified_at < _VERIFY_EVERY:
            return
        self._verified_at = now
        if not self._to_verify:
            self._to_verify.extend(self._keys)
        turn = [
            self._to_verify.popleft() for _ in range(min(_VERIFIED_AT_ONCE, len(self._to_verify)))
        ]
        self._verify_all(turn)

    def _verify_all(
        self, keys: Iterable[str], *, certain: bool = False
    ) -> dict[str, tuple[Materialized | None, str]]:
        """Take over the instance's own records of `keys`; return the version and run of each.

        Dagster writes such a record after the event. So if it has none, a version that is only
        seconds old stays, unless it is `certain` that the record has been written.
        """
        wanted = set(keys)
        observable = {key for key in wanted if self._versions.is_observable(key)}
        latest = self._log.latest_versions(wanted, observable) if wanted else {}
        for key in wanted:
            made, _ = latest.get(key, (None, ""))
            current = self._versions.current(key)
            if made is not None and (current is None or current.id < made.id):
                self._add(made)
                self._partitions.look_again(key)
            elif (
                made is None
                and current is not None
                and (certain or current.id <= self._marks[0][1])
            ):
                self._versions.wipe(key)
        return latest

    def _learn_durations(self, graph: Graph, limits: Limits, ticks: Mapping[str, float]) -> None:
        def tick_of(key: str) -> float:
            asset = graph.assets.get(key)
            if asset is None:
                return DEFAULT_TICK
            return graph.tick(asset.location, ticks)

        def made_at(version: int) -> float | None:
            made = self._versions.get(version)
            return made.at if made else None

        ended = self._runs.settle(self._versions.current)
        self._places.follow(ended, self._runs.active.values(), graph, limits)
        for run in ended:
            self._stopwatch.learn(run, tick_of, made_at, self._partitions.closed_at, self._places)

    # --- the snapshot ---------------------------------------------------------------------

    def _states(
        self, graph: Graph, now: float, put_back: Mapping[str, PutBack]
    ) -> dict[str, AssetState]:
        current = {
            key: made
            for key in graph.assets
            if key not in self._partitions and (made := self._versions.current(key)) is not None
        }
        data_times = self._data_times_now(graph, current, now)
        promises = Promises(graph, self._versions, self._runs.pending(), put_back)
        partitioned = PartitionStates(
            self._partitions, self._partition_runs, promises, partial(self._not_after, now)
        )
        states: dict[str, AssetState] = {}
        for key in graph.assets:
            made = current.get(key)
            failures = self._runs.failures(key)
            state = AssetState(
                version=self._version(made, *data_times[key], now) if made else None,
                pending=promises.pending(key),
                failures=failures.count,
                failing_since=failures.since,
                failed_at=self._not_after(now, failures.at),
                error=failures.error,
                last_run_id=self._runs.last_run(key),
                durations=self._stopwatch.durations(key),
                nothing_new=self._nothing_new(graph, key, now),
            )
            if key in self._partitions:
                state = partitioned.state(key, state, now)
            if state != NEVER_RUN:
                states[key] = state
        return states

    def _capacity(self, limits: Limits, states: Mapping[str, AssetState]) -> Capacity:
        others = (
            run
            for run in self._runs.active.values()
            if run.has_slot
            and not any(key in states and run.id in _expected(states[key]) for key in run.to_make())
        )
        return Capacity(limits.slots, limits.pools, sum(1 for _ in others))

    def _data_times_now(
        self, graph: Graph, current: Mapping[str, Materialized], now: float
    ) -> dict[str, tuple[float | None, float | None]]:
        """Return the data time of each asset at `now`, and the one by what its version has read."""
        known = self._versions.both_data_times(made.id for made in current.values())
        times = {key: known[made.id] for key, made in current.items()}
        # What a view reads is never a view here. A view of something that has no data time, which
        # it reads when it is read itself, is as fresh as can be.
        views = {
            key: [self._data_time_in(asset, dep, times, now) for dep in inputs]
            if (inputs := self._versions.inputs(key))
            else [(now, now)]
            for key, asset in graph.assets.items()
            if asset.view
        }
        for key, read in views.items():
            times[key] = data_time_of(it for it, _ in read), data_time_of(it for _, it in read)
        return times

    def _data_time_in(
        self,
        view: Asset,
        dep: str,
        times: Mapping[str, tuple[float | None, float | None]],
        now: float,
    ) -> tuple[float | None, float | None]:
        """Return the two data times of `dep` as `view` shows it."""
        if dep not in self._partitions:
            return times.get(dep, (None, None))
        reads = view.reads.get(dep)
        if reads and reads.last:
            reached = self._partitions.last_reach(dep, now)
        else:
            reached = self._partitions.reach(dep)
        return reached, reached

    def _nothing_new(self, graph: Graph, key: str, now: float) -> NothingNew | None:
        answer = self._runs.answer(key)
        if answer is None or key in self._partitions:
            return None
        if key not in self._answered or self._answered[key][0] is not answer:
            self._answered[key] = answer, self._versions.read_at(key, answer.start, {})
        read = self._answered[key][1]
        data_time: float | None = answer.start.at
        if graph.assets[key].elsewhere:
            data_time = None
        elif read:
            data_time = self._versions.data_time_of_reading(key, read)
        return NothingNew(
            at=self._not_after(now, answer.at), data_time=self._not_after(now, data_time)
        )

    def _version(
        self, made: Materialized, data_time: float | None, own: float | None, now: float
    ) -> Version:
        """Return `made` as a version; `own` is the data time by what it read itself."""
        data_time = self._not_after(now, data_time)
        moved = own is not None and data_time is not None and own < data_time
        return Version(
            id=made.id,
            at=self._not_after(now, made.at),
            data_time=data_time,
            unchanged_since=own if moved else None,
            code_version=made.code_version,
        )

    @overload
    def _not_after(self, now: float, time: float) -> float: ...

    @overload
    def _not_after(self, now: float, time: float | None) -> float | None: ...

    def _not_after(self, now: float, time: float | None) -> float | None:
        """Return `time`, but no later than `now`: a host's clock may be ahead."""
        if time is None or time <= now:
            return time
        self.until = now  # it will be later soon
        return now


def _expected(state: AssetState) -> set[str]:
    """Return the ids of the runs that will deliver an asset or partitions of it."""
    pendings = (state.pending, *(part.pending for part in state.parts))
    return {pending.run_id for pending in pendings if pending}


def _id(made: Materialized) -> int:
    return made.id
