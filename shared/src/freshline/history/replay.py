"""The event log once more, event by event: which data time each asset had, and from when on.

A target's lag over time follows from that. The rules are those of `versions` and `unchanged`, by
which plans are made; here they see of the log only what had been written at each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from dagster import AssetCheckKey, AssetKey, DagsterInstance

from freshline.garbage import no_garbage_collection
from freshline.history.bulk import AssetEvent, BulkReader
from freshline.history.events import EventLog
from freshline.history.materialized import Materialized
from freshline.history.past import Change, ChangeKind, Past, PastRun, Period, Verdict
from freshline.history.run_events import RunEvents
from freshline.history.runs import Runs
from freshline.history.versions import Versions
from freshline.model import Asset, Graph, Phase, TargetStatus, data_time_of
from freshline.names import (
    HELD_UP_ASSET,
    HELD_UP_LOCATION,
    HELD_UP_PHASE,
    LAG_CHECK,
    STATUS,
)

__all__ = ["replay"]

_CHUNK: Final = 200_000  # events of which the beginnings of steps are read at once
_LONG_RUN: Final = 20_000  # events before a chunk in which its runs may have begun
_FORGET_EVERY: Final = 1_000  # versions
_LOOKED_BACK: Final = 4  # newest versions of an asset before the replay begins
_VERDICTS: Final = 1_000  # results of a check that are read at once
_SAID: Final = (STATUS, HELD_UP_LOCATION, HELD_UP_ASSET, HELD_UP_PHASE)


def replay(instance: DagsterInstance, graph: Graph, period: Period, after: int) -> Past:
    """Return what has happened in `period`, in which the events after the id `after` were written.

    `graph` is what the contracts say now. Raises `InstanceError` if the instance's storage is none
    that can be read in bulk, and what the storage raises.
    """
    with no_garbage_collection():
        reader = BulkReader(instance)
        runs = {run.id: run for run in reader.runs(period.begin)}
        replayed = _Replay(instance, graph, reader, runs)
        changes = tuple(replayed.changes(after, period))
        ticks = {asset.location: graph.tick(asset.location) for asset in graph.assets.values()}
        return Past(
            periods=(period,),
            changes=changes,
            runs=tuple(
                replayed.with_launch(run)
                for run in runs.values()
                if period.begin <= run.ended <= period.end
            ),
            verdicts=tuple(_verdicts(instance, graph, period)),
            silences=tuple(reader.silences(after, period.event, ticks, period.end)),
            not_followed=replayed.not_followed,
        )


class _LogUntil(EventLog):
    """The log as it was when the event `position` had been written."""

    def __init__(self, instance: DagsterInstance) -> None:
        super().__init__(instance)
        self.position = 0
        self.runs: dict[str, RunEvents] = {}
        """The events of runs, most of them read in bulk."""

    def run_events(self, run_id: str, known: RunEvents | None = None) -> RunEvents:
        if run_id not in self.runs:
            self.runs[run_id] = super().run_events(run_id, known)
        return self.runs[run_id]

    def _events_of(
        self, key: str, limit: int, *, observations: bool, ascending: bool = False, **ids: Any
    ) -> list[Materialized]:
        before = ids.pop("before_storage_id", None)
        end = self.position + 1
        return super()._events_of(
            key,
            limit,
            observations=observations,
            ascending=ascending,
            before_storage_id=end if before is None else min(before, end),
            **ids,
        )


class _Replay:
    def __init__(
        self,
        instance: DagsterInstance,
        graph: Graph,
        reader: BulkReader,
        runs: Mapping[str, PastRun],
    ) -> None:
        self._graph = graph
        self._reader = reader
        self._run_records = runs
        self._log = _LogUntil(instance)
        self._versions = Versions(self._log, Runs(self._log))
        self._versions.follow(graph)
        targets = {key for key, asset in graph.assets.items() if asset.policy}
        self.not_followed = frozenset(key for key in targets if not self._can_follow(key))
        self._followed = sorted(targets - self.not_followed)
        self._below: dict[str, list[str]] = {}
        """The targets that are made from each asset, directly or not."""
        for key in self._followed:
            for dep in self._upstream(key):
                self._below.setdefault(dep, []).append(key)
        self._data_times: dict[str, float | None] = {}
        """The data time of each target that is followed, as of the last change."""

    def changes(self, after: int, period: Period) -> Iterator[Change]:
        """Yield the changes by the events after the id `after`, up to the end of `period`.

        First, how each target stands when the period begins.
        """
        self._log.position = after
        self._look_back()
        for key in self._followed:
            self._data_times[key] = data_time = self._data_time(key)
            yield Change(after, key, period.begin, ChangeKind.STANDS, data_time)
        for count, event in enumerate(self._events(after, period.event), 1):
            self._log.position = event.id
            yield from self._changes_by(event)
            if count % _FORGET_EVERY == 0:
                self._versions.forget_old(len(self._graph.assets))

    def with_launch(self, run: PastRun) -> PastRun:
        """Return `run`, launched when its events say so."""
        events = self._log.runs.get(run.id)
        return replace(run, launched=events.launched) if events and events.launched else run

    def _events(self, after: int, until: int) -> Iterator[AssetEvent]:
        for begin in range(after, until, _CHUNK):
            end = min(begin + _CHUNK, until)
            first = max(0, begin - _LONG_RUN)
            self._log.runs.update(self._reader.run_events(first, end))
            yield from self._reader.asset_events(begin, end)

    # --- what is followed -----------------------------------------------------------------

    def _can_follow(self, key: str) -> bool:
        """Return whether the data time of a target follows from versions: it ages."""
        asset = self._graph.assets[key]
        return not asset.static and (not asset.view or bool(self._versions.inputs(key)))

    def _upstream(self, key: str) -> set[str]:
        found: set[str] = set()
        waiting = [key]
        while waiting:
            asset = self._graph.assets.get(waiting.pop())
            new = set(asset.deps) - found if asset else set()
            found |= new
            waiting.extend(new)
        return found - {key}

    def _look_back(self) -> None:
        """Look up the versions that there were when the replay begins, and what was observed."""
        for key in sorted({*self._followed, *self._below}):
            found = self._log.newest_before(key, None, _LOOKED_BACK, observations=True)
            for made in reversed(found):
                self._versions.add(made)

    # --- changes --------------------------------------------------------------------------

    def _changes_by(self, event: AssetEvent) -> Iterator[Change]:
        own: Change | None = None
        if event.made is None:
            self._versions.wipe(event.key)
            own = Change(event.id, event.key, event.at, ChangeKind.WIPED, None)
        elif self._versions.add(event.made) and event.key in self._graph.assets:
            own = self._made(event.made)
        if own is not None and event.key in self._graph.assets:
            yield own
        below = (key for key in self._below.get(event.key, ()) if self._may_have_moved(key))
        for key in (event.key, *below):
            if key not in self._data_times:
                continue
            data_time = self._data_time(key)
            if data_time != self._data_times[key]:
                self._data_times[key] = data_time
                if key != event.key or own is None:
                    yield Change(event.id, key, event.at, ChangeKind.UNCHANGED, data_time)

    def _may_have_moved(self, key: str) -> bool:
        return self._versions.may_move or self._graph.assets[key].view

    def _data_time(self, key: str) -> float | None:
        """Return the data time of a target as of now; None: unknown, or there is no version."""
        asset = self._graph.assets[key]
        if asset.view:
            return data_time_of(self._current(dep, asset) for dep in self._versions.inputs(key))
        return self._current(key)

    def _current(self, key: str, view: Asset | None = None) -> float | None:
        """Return the data time of what `view` shows of an asset, or without a view, of all of it.

        As of now; None: unknown, or there is no version.
        """
        made = self._versions.current(key)
        if made is None:
            return None
        if key in self._versions.partitions:
            # The partitions are those of today, with the versions that they had then.
            return self._versions.partitions.read_at(view, None, key, made.id)
        return self._versions.moved_data_times([made.id])[made.id]

    def _made(self, made: Materialized) -> Change:
        run = self._run_records.get(made.run_id)
        events = self._log.run_events(made.run_id) if made.run_id else RunEvents()
        data_time = None
        if made.key in self._data_times:
            data_time = self._data_time(made.key)
        elif made.key not in self._versions.partitions:
            data_time = self._versions.moved_data_times([made.id])[made.id]
        return Change(
            event=made.id,
            key=made.key,
            at=made.at,
            kind=ChangeKind.OBSERVED if made.observed else ChangeKind.MADE,
            data_time=data_time,
            run_id=made.run_id,
            ready=self._ready(made),
            requested=run.requested if run else None,
            launched=events.launched or (run.launched if run else None),
            started=events.started(made.step),
        )

    def _ready(self, made: Materialized) -> float | None:
        """Return when the last version that `made` has read was there; None: it read none."""
        read = (self._versions.get(it) for it in self._versions.read_by(made).values() if it)
        return max((it.at for it in read if it), default=None)


def _verdicts(instance: DagsterInstance, graph: Graph, period: Period) -> Iterator[Verdict]:
    """Yield the recorded verdicts on all targets, and the last of each before the period."""
    found = [
        verdict
        for key, asset in graph.assets.items()
        if asset.policy
        for verdict in _verdicts_on(instance, key, period)
    ]
    yield from sorted(found, key=lambda verdict: (verdict.at, verdict.id))


def _verdicts_on(instance: DagsterInstance, key: str, period: Period) -> Iterator[Verdict]:
    check = AssetCheckKey(AssetKey.from_user_string(key), LAG_CHECK)
    cursor: int | None = None
    while True:
        records = instance.event_log_storage.get_asset_check_execution_history(
            check, limit=_VERDICTS, cursor=cursor
        )
        for record in records:
            verdict = _verdict(key, record)
            if verdict is None or verdict.at > period.end:
                continue
            yield verdict
            if verdict.at < period.begin:
                return
        if len(records) < _VERDICTS:
            return
        cursor = records[-1].id


def _verdict(key: str, record: Any) -> Verdict | None:
    """Return what a result of the check says; None: it says nothing, or is not freshline's."""
    entry = record.event
    event = entry.dagster_event if entry else None
    evaluation = getattr(event, "event_specific_data", None)
    metadata = getattr(evaluation, "metadata", None)
    if entry is None or evaluation is None or metadata is None:
        return None
    said = {name: str(metadata[name].value) for name in _SAID if name in metadata}
    if said.get(STATUS) not in list(TargetStatus):
        return None
    phase = said.get(HELD_UP_PHASE)
    return Verdict(
        id=record.id,
        target=key,
        at=entry.timestamp,
        status=TargetStatus(said[STATUS]),
        reason=evaluation.description or "",
        location=said.get(HELD_UP_LOCATION, ""),
        asset=said.get(HELD_UP_ASSET, ""),
        phase=Phase(phase) if phase else None,
    )
