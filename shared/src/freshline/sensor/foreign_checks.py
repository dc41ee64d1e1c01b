"""Checks on assets that the location does not make: requested when there is a new version.

A check on an asset of the location is requested together with the asset. A check on another
location's asset, or on an external one, cannot be: it has a run of its own, after the fact. So
nothing waits for it, and it cannot block who made the version.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    RepositoryDefinition,
    RunRequest,
)

from freshline.contract.launch import refusal
from freshline.history.events import FINISHED
from freshline.names import CONTRACT_PREFIX, REASON_TAG

if TYPE_CHECKING:
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

__all__ = ["ForeignChecks"]


class _Version(NamedTuple):
    id: int
    at: float


class ForeignChecks:
    """The checks of a repository on assets that it does not make.

    `checks` are all checks of the repository, those in one set that Dagster only runs together.
    Left out are checks with partitions, and those that have an automation condition of their own.
    """

    def __init__(
        self, repository: RepositoryDefinition, checks: Iterable[frozenset[AssetCheckKey]]
    ) -> None:
        self.refused: dict[str, str] = {}
        """Checks that cannot be run as they are, and what Dagster says about it."""
        self._checks: dict[str, frozenset[AssetCheckKey]] = {}
        made = repository.asset_graph.materializable_asset_keys
        for together in checks:
            if all(key.asset_key in made or _is_freshlines(key) for key in together):
                continue
            if any(_runs_otherwise(repository, key) for key in together):
                continue
            name = " ".join(sorted(key.to_user_string() for key in together))
            why = refusal(repository, (), together)
            if why is None:
                self._checks[name] = together
            else:
                self.refused[name] = why

    def requests(self, instance: DagsterInstance, seen: dict[str, str]) -> list[RunRequest]:
        """Return requests for the checks whose assets have versions that were not checked yet.

        `seen` keeps, by check, which versions were checked or requested; it is brought up to date.
        Checks on the same assets go into one run.
        """
        for gone in seen.keys() - self._checks.keys():
            del seen[gone]
        versions = _versions(instance, {key.asset_key for key in self._keys(self._checks)})
        new = {
            name: basis
            for name, together in self._checks.items()
            if (basis := _basis(together, versions)) and seen.get(name) != basis
        }
        if not new:
            return []
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            list(self._keys(new))
        )
        due: defaultdict[frozenset[AssetKey], set[AssetCheckKey]] = defaultdict(set)
        for name, basis in new.items():
            together = self._checks[name]
            if any(_is_pending(instance, latest.get(key)) for key in together):
                continue
            seen[name] = basis
            if not all(_has_read(latest.get(key), versions[key.asset_key]) for key in together):
                due[frozenset(key.asset_key for key in together)] |= together
        return [_request(checks, versions) for checks in due.values()]

    def _keys(self, names: Iterable[str]) -> set[AssetCheckKey]:
        return {key for name in names for key in self._checks[name]}


def _is_freshlines(key: AssetCheckKey) -> bool:
    """Return whether the check is on a contract: the sensor records its results itself."""
    return tuple(key.asset_key.path[: len(CONTRACT_PREFIX)]) == CONTRACT_PREFIX


def _runs_otherwise(repository: RepositoryDefinition, key: AssetCheckKey) -> bool:
    spec = repository.asset_checks_defs_by_key[key].get_spec_for_check_key(key)
    # Checks with partitions came with Dagster 1.13.
    partitions = getattr(spec, "partitions_def", None)
    return partitions is not None or spec.automation_condition is not None


def _versions(instance: DagsterInstance, assets: AbstractSet[AssetKey]) -> dict[AssetKey, _Version]:
    """Return the current version of each of `assets` that has one and is not partitioned."""
    records = instance.get_asset_records(list(assets)) if assets else []
    return {
        record.asset_entry.asset_key: _Version(last.storage_id, last.timestamp)
        for record in records
        if (last := record.asset_entry.last_materialization_record) and not last.partition_key
    }


def _basis(together: frozenset[AssetCheckKey], versions: Mapping[AssetKey, _Version]) -> str | None:
    """Return the versions that the checks would read, as text; None: an asset has none."""
    assets = {key.asset_key for key in together}
    if not versions.keys() >= assets:
        return None
    ids = {asset.to_user_string(): versions[asset].id for asset in assets}
    return " ".join(str(ids[asset]) for asset in sorted(ids))


def _is_pending(instance: DagsterInstance, last: AssetCheckExecutionRecord | None) -> bool:
    """Return whether a run that is queued or in progress will write a result of the check."""
    if last is None or isinstance(last.evaluation, AssetCheckEvaluation):
        return False
    run = instance.get_run_by_id(last.run_id)
    return run is not None and run.status not in FINISHED


def _has_read(last: AssetCheckExecutionRecord | None, version: _Version) -> bool:
    """Return whether the last result of a check is about `version`, or a newer one."""
    if last is None or not isinstance(last.evaluation, AssetCheckEvaluation):
        return False
    read = last.evaluation.target_materialization_data
    if read is None:  # a result that was reported by hand, for example
        return last.event is not None and last.event.timestamp >= version.at
    return read.storage_id >= version.id


def _request(checks: Iterable[AssetCheckKey], versions: Mapping[AssetKey, _Version]) -> RunRequest:
    """Return a request with the same run key for the same checks of the same versions."""
    ordered = sorted(checks, key=AssetCheckKey.to_user_string)
    lines = [f"{key.to_user_string()} {versions[key.asset_key].id}\n" for key in ordered]
    assets = sorted({key.asset_key.to_user_string() for key in ordered})
    return RunRequest(
        run_key=hashlib.sha256("".join(lines).encode()).hexdigest()[:32],
        asset_selection=[],
        asset_check_keys=ordered,
        tags={REASON_TAG: f"there is a new version of {' and '.join(assets)}"},
    )
