"""Checks that have runs of their own: requested when there is something new to check.

A check on an asset of the location is requested together with the asset. A check on another
location's asset, or on an external one, cannot be: it has a run of its own, after the fact. So
nothing waits for it, and it cannot block who made the version. The same is done for views that no
table below brings along (`views` says which): they change when something changes that they read.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSpec,
    AssetKey,
    DagsterInstance,
    RepositoryDefinition,
    RunRequest,
)

from freshline.contract.launch import refusal
from freshline.history.events import FINISHED, EventLog
from freshline.model import Graph, Snapshot
from freshline.names import CONTRACT_PREFIX, REASON_TAG
from freshline.sensor.views import read_by

if TYPE_CHECKING:
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

__all__ = ["ForeignChecks"]

_NOT_THERE: Final = "-"
"""Stands for the version of an input that nobody reports."""


class _Version(NamedTuple):
    """The newest version of an asset, made or observed."""

    id: int
    at: float
    data: str
    """The same for versions with the same data, if that is known."""
    partitioned: bool = False


class _Checks(NamedTuple):
    """Checks that Dagster only runs together; mostly it is one."""

    keys: frozenset[AssetCheckKey]
    assets: frozenset[str]
    """What they check."""
    foreign: bool
    """Whether the location does not make all of that."""


class ForeignChecks:
    """The checks of a repository that cannot run together with what they check.

    `checks` are all checks of the repository, those in one set that Dagster only runs together.
    Left out are checks with partitions, and those that have an automation condition of their own.
    """

    def __init__(
        self, repository: RepositoryDefinition, checks: Iterable[frozenset[AssetCheckKey]]
    ) -> None:
        self.refused: dict[str, str] = {}
        """Checks that cannot be run as they are, and what Dagster says about it."""
        self._repository = repository
        self._made = repository.asset_graph.materializable_asset_keys
        specs = _check_specs(repository)
        self._all = {
            " ".join(sorted(key.to_user_string() for key in together)): self._described(together)
            for together in checks
            if not all(map(_is_freshlines, together))
            and not any(_runs_otherwise(specs[key]) for key in together)
        }
        self._tried: dict[str, str | None] = {}
        self._known: dict[str, _Version] = {}
        """The newest versions that were seen, by asset."""
        self._read: tuple[Graph, dict[str, frozenset[str]]] | None = None

    def requests(
        self,
        instance: DagsterInstance,
        graph: Graph,
        snapshot: Snapshot,
        views: Collection[str],
        seen: dict[str, str],
    ) -> list[RunRequest]:
        """Return requests for the checks whose assets have versions that were not checked yet.

        `views` are those views of the location whose checks have runs of their own. `seen` keeps,
        by check, which versions were checked or requested; it is brought up to date. Checks on the
        same assets go into one run, and all those on views into one.
        """
        checks = self._apart(views)
        for gone in seen.keys() - checks.keys():
            del seen[gone]
        assets = {asset for it in checks.values() for asset in it.assets}
        read = self._read_by(graph, assets)
        versions = self._versions(instance, graph, snapshot, {*assets, *_all_of(read.values())})
        new = {
            name: basis
            for name, it in checks.items()
            if (basis := self._basis(it.assets, read, versions, graph)) and seen.get(name) != basis
        }
        if not new:
            return []
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [key for name in new for key in checks[name].keys]
        )
        due: defaultdict[frozenset[str], set[AssetCheckKey]] = defaultdict(set)
        for name, basis in new.items():
            together = checks[name].keys
            if any(_is_pending(instance, latest.get(key)) for key in together):
                continue
            seen[name] = basis
            if not all(_has_read(instance, latest.get(key), read, versions) for key in together):
                checked = checks[name].assets
                on_view = any(read[asset] != {asset} for asset in checked)
                due[frozenset() if on_view else checked] |= together
        return [_request(together, read, versions) for together in due.values()]

    def _described(self, together: frozenset[AssetCheckKey]) -> _Checks:
        assets = {key.asset_key for key in together}
        names = frozenset(asset.to_user_string() for asset in assets)
        return _Checks(together, names, foreign=not assets <= self._made)

    def _apart(self, views: Collection[str]) -> dict[str, _Checks]:
        """Return the checks that have runs of their own, by name, without what Dagster refuses."""
        apart = {
            name: it
            for name, it in self._all.items()
            if it.foreign or not it.assets.isdisjoint(views)
        }
        self._try([name for name in apart if name not in self._tried])
        self.refused = {name: why for name in apart if (why := self._tried[name])}
        return {name: it for name, it in apart.items() if name not in self.refused}

    def _try(self, names: Collection[str]) -> None:
        """Find out which checks Dagster refuses to run. Mostly it refuses none of them."""
        together = {key for name in names for key in self._all[name].keys}
        if together and refusal(self._repository, (), together):
            self._tried |= {
                name: refusal(self._repository, (), self._all[name].keys) for name in names
            }
        else:
            self._tried |= dict.fromkeys(names, None)

    def _read_by(self, graph: Graph, assets: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return what each of `assets` shows the data of; for the same graph, it is remembered."""
        if self._read is None or self._read[0] is not graph:
            self._read = graph, {}
        known = self._read[1]
        known.update((asset, read_by(graph, asset)) for asset in assets if asset not in known)
        return known

    def _versions(
        self, instance: DagsterInstance, graph: Graph, snapshot: Snapshot, keys: Collection[str]
    ) -> dict[str, _Version]:
        """Return the newest version of each of `keys` that has one."""
        newest: dict[str, tuple[int, float]] = {}
        unexplained: list[AssetKey] = []
        for key in keys:
            if key not in graph.assets:
                unexplained.append(AssetKey.from_user_string(key))
            elif version := snapshot.state(key).version:
                newest[key] = version.id, version.at
        for record in instance.get_asset_records(unexplained) if unexplained else ():
            if last := record.asset_entry.last_materialization_record:
                key = record.asset_entry.asset_key.to_user_string()
                newest[key] = last.storage_id, last.timestamp
        self._learn(
            instance,
            {
                key: version
                for key, version in newest.items()
                if key not in self._known or self._known[key].id != version[0]
            },
        )
        return {key: self._known[key] for key in newest}

    def _learn(self, instance: DagsterInstance, new: Mapping[str, tuple[int, float]]) -> None:
        """Find out what the data of versions is, and remember it. A version never changes."""
        ids = [number for number, _ in new.values()]
        events = {it.id: it for it in EventLog(instance).materializations_by_id(ids)}
        for key, (number, at) in new.items():
            event = events.get(number)
            partitioned = event is not None and event.partition is not None
            data = event.data_version if event and not partitioned else None
            self._known[key] = _Version(number, at, data or str(number), partitioned)

    def _basis(
        self,
        assets: Iterable[str],
        read: Mapping[str, frozenset[str]],
        versions: Mapping[str, _Version],
        graph: Graph,
    ) -> str | None:
        """Return the versions that checks on `assets` would read, as text; None: not to be run yet.

        That is so if a version is missing, or the asset has partitions and is no view.
        """
        parts = []
        for asset in sorted(assets):
            if read[asset] == {asset}:
                if asset not in versions or versions[asset].partitioned:
                    return None
            elif AssetKey.from_user_string(asset) in self._made and asset not in versions:
                return None  # the view is not there yet
            for name in sorted(read[asset]):
                if name in versions:
                    parts.append(versions[name].data)
                elif name in graph.outside:
                    parts.append(_NOT_THERE)
                else:
                    return None
        return " ".join(parts)


def _all_of(keys: Iterable[Iterable[str]]) -> Iterator[str]:
    return (key for several in keys for key in several)


def _is_freshlines(key: AssetCheckKey) -> bool:
    """Return whether the check is on a contract: the sensor records its results itself."""
    return tuple(key.asset_key.path[: len(CONTRACT_PREFIX)]) == CONTRACT_PREFIX


def _check_specs(repository: RepositoryDefinition) -> dict[AssetCheckKey, AssetCheckSpec]:
    """Return the specs of all checks, also of those that come with the assets of a dbt project."""
    definitions = {
        id(each): each
        for each in (
            *repository.asset_checks_defs_by_key.values(),
            *repository.assets_defs_by_key.values(),
        )
    }
    return {spec.key: spec for each in definitions.values() for spec in each.check_specs}


def _runs_otherwise(spec: AssetCheckSpec) -> bool:
    # Checks with partitions came with Dagster 1.13.
    partitions = getattr(spec, "partitions_def", None)
    return partitions is not None or spec.automation_condition is not None


def _is_pending(instance: DagsterInstance, last: AssetCheckExecutionRecord | None) -> bool:
    """Return whether a run that is queued or in progress will write a result of the check."""
    if last is None or isinstance(last.evaluation, AssetCheckEvaluation):
        return False
    run = instance.get_run_by_id(last.run_id)
    return run is not None and run.status not in FINISHED


def _has_read(
    instance: DagsterInstance,
    last: AssetCheckExecutionRecord | None,
    read: Mapping[str, frozenset[str]],
    versions: Mapping[str, _Version],
) -> bool:
    """Return whether the last result of a check is about the newest versions, or newer ones."""
    if last is None or not isinstance(last.evaluation, AssetCheckEvaluation) or not last.event:
        return False
    asset = last.key.asset_key.to_user_string()
    if read[asset] != {asset}:
        # Of a view, the result does not say what it has read: what was there when its run began.
        runs = EventLog(instance).run_records([last.run_id])
        began = (runs and runs[0].start_time) or last.event.timestamp
        newest = max((versions[key].at for key in read[asset] if key in versions), default=0.0)
        return began >= newest
    target = last.evaluation.target_materialization_data
    if target is None:  # a result that was reported by hand, for example
        return last.event.timestamp >= versions[asset].at
    return target.storage_id >= versions[asset].id


def _request(
    checks: Iterable[AssetCheckKey],
    read: Mapping[str, frozenset[str]],
    versions: Mapping[str, _Version],
) -> RunRequest:
    """Return a request with the same run key for the same checks of the same versions."""
    ordered = sorted(checks, key=AssetCheckKey.to_user_string)
    lines: list[str] = []
    for key in ordered:
        inputs = sorted(read[key.asset_key.to_user_string()] & versions.keys())
        ids = " ".join(str(versions[name].id) for name in inputs)
        lines.append(f"{key.to_user_string()} {ids}\n")
    return RunRequest(
        run_key=hashlib.sha256("".join(lines).encode()).hexdigest()[:32],
        asset_selection=[],
        asset_check_keys=ordered,
        tags={REASON_TAG: _reason({key.asset_key.to_user_string() for key in ordered}, read)},
    )


def _reason(assets: Iterable[str], read: Mapping[str, frozenset[str]]) -> str:
    views = sorted(asset for asset in assets if read[asset] != {asset})
    if not views:
        return f"for its checks: new version of {' and '.join(sorted(assets))}"
    more = f" and {len(views) - 1} more" if views[1:] else ""
    return f"for its checks: new data in what {views[0]}{more} shows"
