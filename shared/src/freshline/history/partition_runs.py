"""What runs do about the partitions of assets: which they will still make, which they failed to.

The rules are those of `freshline.history.runs`, for each partition by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from freshline.history.events import EventLog
from freshline.history.materialized import Materialized
from freshline.history.partitions import Partitions
from freshline.history.runs import Failure, Failures, Run, Runs, failures_in_a_row, failures_of
from freshline.history.series import Partition
from freshline.model import NothingNew

__all__ = ["PartitionRuns"]

_LOOKED_UP: Final = 300  # runs that are read in addition at first sight of an asset, up to so many


class PartitionRuns:
    """Follows the runs of partitioned assets."""

    def __init__(self, log: EventLog, runs: Runs, partitions: Partitions) -> None:
        self._log = log
        self._runs = runs
        self._partitions = partitions
        self._failures: defaultdict[tuple[str, str], dict[str, Failure]] = defaultdict(dict)
        self._answers: dict[tuple[str, str], NothingNew] = {}
        self._last: dict[tuple[str, str], tuple[int, str]] = {}
        self._made: dict[str, set[tuple[str, str | None]]] = {}
        """What ended runs have made, if not all that is known of."""

    # --- following ------------------------------------------------------------------------

    def learn(self, key: str, now: float) -> None:
        """Learn which partitions of a new asset runs were to make, and have not made."""
        if key not in self._partitions:
            return
        attempts = {
            name: run_id
            for name, run_id in self._log.runs_without_version(key).items()
            if self._partitions.partition(key, name) is not None
        }
        wanted = list(dict.fromkeys(reversed(attempts.values())))[:_LOOKED_UP]
        self._runs.read_runs(wanted, now)
        for name, run_id in attempts.items():
            self._last.setdefault((key, name), (0, run_id))

    def add_version(self, made: Materialized) -> None:
        """Note a version: if it is the current one of its partition, earlier failures are over."""
        partition = self._partitions.partition_known(made.key, made.partition)
        if partition and partition.newest and partition.newest.id == made.id:
            self._failures.pop((made.key, partition.name), None)
            self._answers.pop((made.key, partition.name), None)

    def follow(self) -> None:
        """Count failures and note answers since the last read. Comes before runs are settled."""
        for run in sorted(self._runs.active.values(), key=lambda run: run.order):
            for key, partition in self._to_make(run):
                part = key, partition.name
                self._last[part] = max(self._last.get(part, (0, "")), (run.order, run.id))
            self._follow_ending(run)
        for run_id in self._made.keys() - self._runs.active.keys():
            del self._made[run_id]

    def _to_make(self, run: Run) -> Iterator[tuple[str, Partition]]:
        """Yield the assets and partitions that `run` is to make, of those that count."""
        for key in run.to_make():
            if key in self._partitions:
                for name in run.partitions(key):
                    partition = self._partitions.partition(key, name)
                    if partition is not None:
                        yield key, partition

    def _has_made(self, run: Run, key: str, partition: Partition) -> bool:
        if any(version.run_id == run.id for version in partition.versions):
            return True
        if not run.finished:
            return False
        if run.id not in self._made:
            # It may have made it before what is known, or it was wiped.
            self._made[run.id] = self._log.partitions_made_by_run(run.id)
        return (key, partition.name) in self._made[run.id]

    def _follow_ending(self, run: Run) -> None:
        """Note what `run` had nothing to make of, and count what it failed to make."""
        steps = run.events.steps.values()
        if not run.finished and not any(step.error or step.ended for step in steps):
            return
        for key, partition in self._to_make(run):
            if self._has_made(run, key, partition):
                continue
            part = key, partition.name
            step = run.to_make()[key]
            answered = run.answered(step)
            failure = _failure_of(run, key) if answered is None else None
            at = failure.at if failure else answered
            if at is None or self._runs.is_over(run, at, _current(key, partition)):
                continue
            if failure is None:
                started = run.step_started(step)
                self._answers[part] = NothingNew(at, at if started is None else started)
                self._failures.pop(part, None)
            else:
                self._answers.pop(part, None)
                failures = self._failures[part]
                failures[run.root_id] = failure.after(failures.get(run.root_id))

    # --- answers --------------------------------------------------------------------------

    def failures(self, key: str, partition: Partition) -> Failures:
        """Return the failures of a partition since its current version."""
        return failures_in_a_row(self._failures.get((key, partition.name)))

    def nothing_new(self, key: str, partition: Partition) -> NothingNew | None:
        """Return the answer of the newest run, if it had nothing to make of the partition."""
        return self._answers.get((key, partition.name))

    def last_run(self, key: str, partition: Partition) -> str:
        """Return the id of the newest run that was to make the partition; "" for none."""
        known = self._last.get((key, partition.name))
        if known is not None:
            return known[1]
        return partition.newest.run_id if partition.newest else ""

    def pending(self) -> dict[tuple[str, str], list[tuple[Run, str]]]:
        """Return the runs that will still make each partition, with the step that does."""
        pending: defaultdict[tuple[str, str], list[tuple[Run, str]]] = defaultdict(list)
        for run in self._runs.active.values():
            steps = run.to_make()
            for key, partition in self._to_make(run):
                step = steps[key]
                done = run.events.steps.get(step)
                if self._has_made(run, key, partition):
                    continue
                if run.retry_promised or not (run.finished or (done and done.ended)):
                    pending[key, partition.name].append((run, step))
        return pending


def _failure_of(run: Run, key: str) -> Failure | None:
    """Return the failure of `run` to make what it has not made of the asset; None: it has none."""
    alone = replace(
        run,
        events=replace(run.events, planned={key: run.to_make()[key]}),
        delivered={},
        made=frozenset(),
    )
    return next((failure for _, failure in failures_of(alone)), None)


def _current(key: str, partition: Partition) -> Materialized | None:
    newest = partition.newest
    if newest is None:
        return None
    return Materialized(newest.id, key, newest.at, newest.run_id, "", None, ())
