"""Which versions the queued and running runs will deliver, and the data time of each at least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from freshline.history.runs import Run
from freshline.history.series import Partition
from freshline.history.versions import Versions
from freshline.model import Asset, Graph, Pending, data_time_of

__all__ = ["Promises"]

_OLDEST: Final = float("-inf")


class Promises:
    """The promises for one snapshot.

    `runs` are those that will deliver each asset, `data_times` those of all current versions.
    """

    def __init__(
        self,
        graph: Graph,
        versions: Versions,
        runs: Mapping[str, Sequence[tuple[Run, str]]],
        data_times: Mapping[int, float | None],
    ) -> None:
        self._graph = graph
        self._versions = versions
        self._runs = runs
        self._data_times = data_times
        self._known: dict[tuple[str, str], float | None] = {}

    def pending(self, key: str) -> Pending | None:
        """Return the run that will deliver the asset; of several, the one with the newest data."""
        return _best(
            _pending(run, step, self._data_time(key, run, step))
            for run, step in self._runs.get(key, ())
        )

    def pending_partition(
        self, key: str, partition: Partition, runs: Sequence[tuple[Run, str]]
    ) -> Pending | None:
        """Return which of `runs` will deliver a partition; of several, that with newest data."""
        return _best(
            _pending(run, step, self._work_out(key, run, step, partition)) for run, step in runs
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
        started = run.step_started(step)
        inputs = [dep for dep in asset.deps if dep not in self._graph.undated]
        reached = (
            data_time_of(
                self._partitions_read(asset, partition, dep, started)
                if dep in self._versions.partitions
                else self._input_data_time(dep, run, step, started)
                for dep in inputs
            )
            if inputs
            else run.created
            if started is None
            else started
        )
        if partition is not None and partition.data is not None and reached is not None:
            return min(reached, partition.data.end)
        return reached

    def _partitions_read(
        self, asset: Asset, partition: Partition | None, dep: str, started: float | None
    ) -> float | None:
        """Return the data time of the partitions of `dep` that a step reads; infinite: complete."""
        if started is None:
            position = self._versions.partitions.newest(dep) or None
        else:
            made = self._versions.current_at(dep, started)
            position = made.id if made else None
        return self._versions.partitions.read_at(asset, partition, dep, position)

    def _input_data_time(
        self, dep: str, run: Run, step: str, started: float | None
    ) -> float | None:
        own = run.to_make()
        if dep in own:
            made = run.delivered.get(dep)
            if made is None:
                return self._data_time(dep, run, own[dep])
            if own[dep] == step:
                return self._data_time_of(made.id)
        made = (
            self._versions.current(dep)
            if started is None
            else self._versions.current_at(dep, started)
        )
        return self._data_time_of(made.id) if made else None

    def _data_time_of(self, version: int) -> float | None:
        if version in self._data_times:
            return self._data_times[version]
        return self._versions.data_times([version])[version]


def _pending(run: Run, step: str, data_time: float | None) -> Pending:
    return Pending(
        run_id=run.id,
        requested_at=run.requested,
        started_at=run.step_started(step),
        data_time=data_time,
        launched_at=run.events.launched,
    )


def _best(pendings: Iterable[Pending]) -> Pending | None:
    return max(pendings, key=_newness, default=None)


def _newness(pending: Pending) -> tuple[float, float]:
    newest = pending.data_time
    return (_OLDEST if newest is None else newest, -pending.requested_at)
