"""The states of partitioned assets, for a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

from freshline.history.partition_runs import PartitionRuns
from freshline.history.partitions import Partitions
from freshline.history.promises import Promises
from freshline.history.runs import Failures
from freshline.history.series import Partition
from freshline.model import AssetState, Part, Version

__all__ = ["PartitionStates"]


class PartitionStates:
    """The states for one snapshot. `promises` are those of the same.

    `not_after` returns a time, but no later than that of the snapshot.
    """

    def __init__(
        self,
        partitions: Partitions,
        runs: PartitionRuns,
        promises: Promises,
        not_after: Callable[[float | None], float | None],
    ) -> None:
        self._partitions = partitions
        self._runs = runs
        self._promises = promises
        self._pending = runs.pending()
        self._not_after = not_after

    def state(self, key: str, state: AssetState, now: float) -> AssetState:
        """Return `state`, which is that of the asset as if it had no partitions, with them."""
        incomplete = self._partitions.incomplete(key)
        failures = self._failures(key, incomplete)
        made = self._partitions.version(key)
        return replace(
            state,
            version=Version(
                made.id, min(made.at, now), self._not_after(self._partitions.reach(key))
            )
            if made
            else None,
            pending=None,
            failures=failures.count,
            failing_since=failures.since,
            failed_at=self._not_after(failures.at),
            error=failures.error,
            parts=tuple(self._part(key, partition) for partition in incomplete),
            last_data_time=self._not_after(self._partitions.last_reach(key, now)) if made else None,
            holes_before_promise=self._partitions.holes_before_promise(key),
        )

    def _failures(self, key: str, incomplete: Sequence[Partition]) -> Failures:
        """Return the failures of the first of `incomplete`, on which the data time depends."""
        if not incomplete:
            return Failures()
        reached = [partition.reach(partition.newest) for partition in incomplete]
        oldest = min(-inf if it is None else it for it in reached)
        first = [
            self._runs.failures(key, partition)
            for partition, it in zip(incomplete, reached, strict=True)
            if it is None or it == oldest
        ]
        return max(first, key=lambda failures: failures.count)

    def _part(self, key: str, partition: Partition) -> Part:
        failures = self._runs.failures(key, partition)
        newest = partition.newest
        runs = self._pending.get((key, partition.name))
        return Part(
            name=partition.name,
            window=partition.window,
            data_time=self._not_after(newest.data_time) if newest else None,
            version=newest.id if newest else 0,
            made_at=self._not_after(newest.at) if newest else None,
            pending=self._promises.pending_partition(key, partition, runs) if runs else None,
            failures=failures.count,
            failed_at=self._not_after(failures.at),
            error=failures.error,
            nothing_new=self._runs.nothing_new(key, partition),
            last_run_id=self._runs.last_run(key, partition),
            key=partition.key,
        )
