"""Which versions the queued and running runs will deliver, and the data time of each at least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from freshline.history.materialized import Materialized
from freshline.history.run_events import PutBack, Start
from freshline.history.runs import Run
from freshline.history.series import Partition
from freshline.history.versions import Versions
from freshline.model import Asset, Graph, Pending, data_time_of

__all__ = ["Promises"]

_OLDEST: Final = float("-inf")


class Promises:
    """The promises for one snapshot.

    `runs` are those that will deliver each asset. `put_back` says of locations whose runs cannot
    be launched why that is so.
    """

    def __init__(
        self,
        graph: Graph,
        versions: Versions,
        runs: Mapping[str, Sequence[tuple[Run, str]]],
        put_back: Mapping[str, PutBack],
    ) -> None:
        self._graph = graph
        self._versions = versions
        self._runs = runs
        self._put_back = put_back
        self._known: dict[tuple[str, str], float | None] = {}

    def pending(self, key: str) -> Pending | None:
        """Return the run that will deliver the asset; of several, the one with the newest data."""
        return _best(
            self._pending(run, step, self._data_time(key, run, step))
            for run, step in self._runs.get(key, ())
        )

    def pending_partition(
        self, key: str, partition: Partition, runs: Sequence[tuple[Run, str]]
    ) -> Pending | None:
        """Return which of `runs` will deliver a partition; of several, that with newest data."""
        return _best(
            self._pending(run, step, self._work_out(key, run, step, partition))
            for run, step in runs
        )

    def _pending(self, run: Run, step: str, data_time: float | None) -> Pending:
        put_back = self._put_back.get(run.location or "") if run.waits else None
        launched = run.launched
        return Pending(
            run_id=run.id,
            requested_at=run.requested,
            started_at=run.step_started(step),
            data_time=data_time,
            launched_at=launched + run.clock_ahead if launched and run.has_slot else None,
            held_by=put_back.why if put_back else "",
        )

    def _data_time(self, key: str, run: Run, step: str) -> float | None:
        """Return the data time that the run will deliver at least; None: not known."""
        run_and_key = (run.id, key)
        if run_and_key not in self._known:
            self._known[run_and_key] = None  # in case the contracts form a cycle
            self._known[run_and_key] = self._work_out(key, run, step)
        return self._known[run_and_key]

    def _work_out(
        self, key: str, run: Run, step: str, partition: Partition | None = None
    ) -> float | None:
        asset = self._graph.assets.get(key)
        if asset is None or asset.elsewhere:
            return None
        start = run.events.start(step)
        reached = self._reached(asset, run, step, partition, start)
        if partition is not None and partition.data is not None and reached is not None:
            return min(reached, partition.data.end)
        return reached

    def _reached(
        self, asset: Asset, run: Run, step: str, partition: Partition | None, start: Start | None
    ) -> float | None:
        inputs = self._versions.inputs(asset.key)
        if inputs:
            return data_time_of(
                self._partitions_read(asset, partition, dep, start)
                if dep in self._versions.partitions
                else self._input_data_time(dep, run, step, start)
                for dep in inputs
            )
        current = self._versions.current(asset.key)
        if current is not None and current.observed and _states_data_time(current):
            # It reports how old something is, which may be the same again.
            return self._data_time_of(current.id)
        return start.at if start else max(run.created, run.requested)

    def _partitions_read(
        self, asset: Asset, partition: Partition | None, dep: str, start: Start | None
    ) -> float | None:
        """Return the data time of the partitions of `dep` that a step reads; infinite: complete."""
        if start is None:
            position = self._versions.partitions.newest(dep) or None
        else:
            made = self._versions.current_at(dep, start)
            position = made.id if made else None
        return self._versions.partitions.read_at(asset, partition, dep, position)

    def _input_data_time(self, dep: str, run: Run, step: str, start: Start | None) -> float | None:
        own = run.to_make()
        if dep in own:
            made = run.delivered.get(dep)
            if made is None:
                return self._data_time(dep, run, own[dep])
            if own[dep] == step:
                return self._data_time_of(made.id)
        made = (
            self._versions.current(dep) if start is None else self._versions.current_at(dep, start)
        )
        return self._data_time_of(made.id) if made else None

    def _data_time_of(self, version: int) -> float | None:
        return self._versions.moved_data_times([version])[version]


def _states_data_time(made: Materialized) -> bool:
    return made.data_time is not None or made.last_updated is not None


def _best(pendings: Iterable[Pending]) -> Pending | None:
    return max(pendings, key=_newness, default=None)


def _newness(pending: Pending) -> tuple[float, float]:
    newest = pending.data_time
    return (_OLDEST if newest is None else newest, -pending.requested_at)
