"""History: the instance's event log as a snapshot that the planner can read.

A process has one `History`. Each `read` adds what has happened since the last one, in a handful of
queries however many assets there are, and keeps what cannot change. Nothing is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from dagster import DagsterInstance

from freshline.history.durations import Stopwatch
from freshline.history.events import EventLog, Materialized
from freshline.history.partition_runs import PartitionRuns
from freshline.history.partition_states import PartitionStates
from freshline.history.promises import Promises
from freshline.history.runs import Runs
from freshline.history.versions import Versions
from freshline.model import DEFAULT_TICK, NEVER_RUN, AssetState, Graph, Pause, Snapshot, Version

__all__ = ["History"]

_FIRST_READ: Final = 5_000  # newest materializations read when nothing is known yet
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
        self._stopwatch = Stopwatch()
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)
        self._wipe_cursor: str | None = None
        self._known_keys: set[str] = set()
        self._to_verify: deque[str] = deque()
        self._verified_at = 0.0

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
    ) -> Snapshot:
        """Return the state at `now` (UTC, epoch seconds) of every asset in `graph`.

        `seen`, `since` and `pauses` go into the snapshot as they are. Raises what the storage
        raises; the next read goes on where the last complete one ended.
        """
        self._versions.follow(graph)
        self._runs.read(now)
        self._read_materializations(now)
        self._read_wipes()
        self._learn_new_assets(graph.assets.keys() - self._known_keys, now)
        self._verify(graph, now)
        self._partitions.refresh(now)
        self._partition_runs.follow()
        self._learn_durations(graph)
        snapshot = Snapshot(
            self._states(graph, now), dict(seen or {}), dict(since or {}), dict(pauses or {})
        )
        self._versions.forget_old(len(graph.assets))
        return snapshot

    def data_time_read(
        self, graph: Graph, key: str, partition: str | None, inputs: Mapping[str, int | None]
    ) -> float | None:
        """Return the data time of what a step reads that makes the asset, or a partition of it.

        `inputs` has the id of the newest version of each. None: unknown.
        """
        self._versions.follow(graph)
        return self._partitions.data_time_of(key, partition, inputs)

    # --- reading what is new --------------------------------------------------------------

    def _read_materializations(self, now: float) -> None:
        """Read from where the log ended some seconds ago, not from where the last read ended.

        An id is assigned before its event is committed, so a lower id may appear after a higher.
        """
        if not self._marks:
            self._wipe_cursor = self._log.latest_wipe()
            first = self._log.newest_materializations(_FIRST_READ)
            for made in first:
                self._add(made)
            self._marks.append((now, first[-1].id if first else 0))
            return
        while len(self._marks) > 1 and now - self._marks[1][0] >= _LATE_COMMIT:
            self._marks.popleft()
        newest = self._marks[-1][1]
        for made in self._log.materializations_after(self._marks[0][1]):
            if made.id not in self._versions:
                self._add(made)
            newest = max(newest, made.id)
        self._marks.append((now, newest))

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

    def _verify(self, graph: Graph, now: float) -> None:
        """Verify some assets in turn, so that a change without an event is noticed in the end."""
        if now - self._verified_at < _VERIFY_EVERY:
            return
        self._verified_at = now
        if not self._to_verify:
            self._to_verify.extend(sorted(graph.assets))
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
        latest = self._log.latest_materializations(wanted) if wanted else {}
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

    def _learn_durations(self, graph: Graph) -> None:
        def tick_of(key: str) -> float:
            asset = graph.assets.get(key)
            return graph.tick(asset.location) if asset else DEFAULT_TICK

        def made_at(version: int) -> float | None:
            made = self._versions.get(version)
            return made.at if made else None

        for run in self._runs.settle(self._versions.current):
            self._stopwatch.learn(run, tick_of, made_at, self._partitions.closed_at)

    # --- the snapshot ---------------------------------------------------------------------

    def _states(self, graph: Graph, now: float) -> dict[str, AssetState]:
        current = {
            key: made
            for key in graph.assets
            if key not in self._partitions and (made := self._versions.current(key)) is not None
        }
        data_times = self._versions.data_times(made.id for made in current.values())
        promises = Promises(graph, self._versions, self._runs.pending(), data_times)
        partitioned = PartitionStates(self._partitions, self._partition_runs, promises)
        states: dict[str, AssetState] = {}
        for key in graph.assets:
            made = current.get(key)
            failures = self._runs.failures(key)
            state = AssetState(
                version=_version(made, data_times[made.id], now) if made else None,
                pending=promises.pending(key),
                failures=failures.count,
                failing_since=failures.since,
                failed_at=None if failures.at is None else min(failures.at, now),
                error=failures.error,
                last_run_id=self._runs.last_run(key),
                durations=self._stopwatch.durations(key),
            )
            if key in self._partitions:
                state = partitioned.state(key, state, now)
            if state != NEVER_RUN:
                states[key] = state
        return states


def _version(made: Materialized, data_time: float | None, now: float) -> Version:
    """Return `made` as a version that is no newer than `now`: a host's clock may be ahead."""
    return Version(
        id=made.id,
        at=min(made.at, now),
        data_time=None if data_time is None else min(data_time, now),
    )
