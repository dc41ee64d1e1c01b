"""Requests: what a location asks Dagster to run, from the plan.

A request that Dagster refused would fail the whole tick, with all other requests in it. So each is
tried first, with Dagster's own code. What is refused is taken out, and said by name.

A run is for assets without partitions, for one partition of each of its assets, or for one range of
partitions. Observations have runs of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from math import inf

from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    RepositoryDefinition,
    RunRequest,
)

from freshline.contract.launch import refusal, run_config_of, unknown_partitions
from freshline.model import AssetPlan, Graph, Part, Plan, Snapshot
from freshline.names import (
    DEADLINE_TAG,
    LAG_CHECK,
    PARTITION_RANGE_END,
    PARTITION_RANGE_START,
    PLAN_TAG,
    PLANNED_TAG,
    PRIORITY_TAG,
    REASON_TAG,
    SLACK_TAG,
    TARGET_TAG,
)
from freshline.planner import RunGroup, priority_of
from freshline.words import clock

__all__ = ["Requester", "run_key"]


class Requester:
    """Makes the run requests of one location's repository, and remembers what Dagster refuses."""

    def __init__(self, repository: RepositoryDefinition) -> None:
        self._repository = repository
        self.checks = _checks(repository)
        """All checks but freshline's own. A set holds checks that only run together."""
        made = repository.asset_graph.materializable_asset_keys
        # Not those on a source: mostly, it is observed to see that nothing has changed.
        self._checks = [it for it in self.checks if all(key.asset_key in made for key in it)]
        self._tried: dict[tuple[frozenset[AssetKey], frozenset[AssetCheckKey]], str | None] = {}
        self.refused: dict[str, str] = {}
        """Why Dagster refuses to run an asset, by its key."""
        self.refused_checks: dict[str, str] = {}
        """Why Dagster refuses to run an asset check, by its name; its asset runs without it."""
        self.refused_parts: dict[str, str] = {}
        """Why Dagster refuses to make a partition, in the newest requests, by its name."""
        self._tables: Mapping[str, AbstractSet[str]] = {}

    def requests(
        self,
        groups: Iterable[RunGroup],
        plan: Plan,
        graph: Graph,
        snapshot: Snapshot,
        instance: DagsterInstance,
        tables: Mapping[str, AbstractSet[str]],
    ) -> Iterator[RunRequest]:
        """Yield a request for each of `groups`, without the assets that Dagster refuses to run.

        With an asset go the checks that are all on assets of the request. `tables` has views: the
        checks on a view go with each of its tables as well. `instance` knows which partitions exist
        that were added at run time.
        """
        self._tables = tables
        self.refused_parts.clear()
        for group in groups:
            units = _units(group.assets, graph)
            runs = [[key for unit in units for key in unit]]
            if self._refusal(runs[0]):
                units = [unit for unit in units if self._runs_alone(unit)]
                runs = [[key for unit in units for key in unit]]
                if self._refusal(runs[0]):
                    runs = units
            for keys in filter(None, runs):
                if self._knows(keys, group.parts, instance):
                    assets = [asset for asset in group.assets if asset.key in keys]
                    yield self._request(group._replace(assets=assets), plan, snapshot)

    def _request(self, group: RunGroup, plan: Plan, snapshot: Snapshot) -> RunRequest:
        keys = sorted(asset.key for asset in group.assets)
        paths = [AssetKey.from_user_string(key) for key in keys]
        tags = _tags(group.assets, plan)
        if group.together:
            # As Dagster's own backfills do where the policy is that one run makes a range.
            tags |= {PARTITION_RANGE_START: group.parts[0], PARTITION_RANGE_END: group.parts[-1]}
        return RunRequest(
            run_key=run_key(keys, snapshot, group.parts),
            asset_selection=paths,
            asset_check_keys=sorted(self._checks_on(keys), key=AssetCheckKey.to_user_string),
            run_config=run_config_of(self._repository, paths),
            tags=tags,
            partition_key=group.parts[0] if group.parts and not group.together else None,
        )

    def _knows(self, keys: Sequence[str], parts: Iterable[str], instance: DagsterInstance) -> bool:
        """Return whether Dagster knows the partitions `parts` of `keys`; if not, note it.

        A request for one that was deleted, for example, would fail the tick.
        """
        asset = AssetKey.from_user_string(keys[0])
        unknown = unknown_partitions(self._repository, asset, parts, instance)
        self.refused_parts.update(
            (f"partition {part} of {key}", "Dagster does not know it")
            for key in keys
            for part in unknown
        )
        return not unknown

    def _runs_alone(self, keys: Sequence[str]) -> bool:
        """Return whether Dagster runs `keys`, which are always made together; if not, note why.

        Checks that stand in the way are noted, and left out from now on.
        """
        if self._refusal(keys) is None:
            return True
        why = self._try(keys, ())
        if why is not None:
            self.refused.update(dict.fromkeys(keys, why))
            return False
        for check in self._checks_on(keys):
            reason = self._try(keys, {check})
            if reason is not None:
                self.refused_checks[check.to_user_string()] = reason
        return self._refusal(keys) is None

    def _refusal(self, keys: Sequence[str]) -> str | None:
        """Return why Dagster refuses to run `keys` with their checks; None: it does not."""
        return self._try(keys, self._checks_on(keys)) if keys else None

    def _try(self, keys: Sequence[str], checks: Collection[AssetCheckKey]) -> str | None:
        paths = frozenset(map(AssetKey.from_user_string, keys))
        run = paths, frozenset(checks)
        if run not in self._tried:
            config = run_config_of(self._repository, paths)
            self._tried[run] = refusal(self._repository, paths, checks, config)
        return self._tried[run]

    def _checks_on(self, keys: Collection[str]) -> set[AssetCheckKey]:
        """Return the checks on `keys`, and on the views that go with one of them."""
        checked = {
            *keys,
            *(view for view in self._tables if not self._tables[view].isdisjoint(keys)),
        }
        return {
            check
            for together in self._checks
            if all(
                check.asset_key.to_user_string() in checked
                and check.to_user_string() not in self.refused_checks
                for check in together
            )
            for check in together
        }


def _units(group: Iterable[AssetPlan], graph: Graph) -> list[list[str]]:
    """Return the keys of `group`: those that are always made together in one list."""
    units: dict[str, list[str]] = {}
    for asset in group:
        units.setdefault(graph.assets[asset.key].execution_set or asset.key, []).append(asset.key)
    return [sorted(keys) for _, keys in sorted(units.items())]


def run_key(keys: Iterable[str], snapshot: Snapshot, parts: Sequence[str] = ()) -> str:
    """Return the run key: the same for the same assets, or `parts` of them, in the same state.

    So Dagster starts one run for each state. A run that is created, fails, is deleted or delivers
    changes the state, and so does a wipe.
    """
    digest = hashlib.sha256()
    for key in sorted(keys):
        state = snapshot.state(key)
        version = state.version.id if state.version else 0
        whole = f"{version}\0{state.last_run_id}\0{state.failures}"
        if not parts:
            digest.update(f"{key}\0{whole}\n".encode())
            continue
        known = {part.name: _state_of(part) for part in state.parts}
        for part in parts:
            digest.update(f"{key}\0{part}\0{known.get(part, whole)}\n".encode())
    return digest.hexdigest()[:32]


def _state_of(part: Part) -> str:
    return f"{part.version}\0{part.last_run_id}\0{part.failures}"


def _tags(assets: Sequence[AssetPlan], plan: Plan) -> dict[str, str]:
    """Return tags that say why the run exists, and when it is launched if the queue is full.

    The reason is that of its most urgent asset. It is read later, beside the time of the run: what
    it says stays true.
    """
    urgent = min(assets, key=lambda asset: (_or_never(asset.deadline), _or_never(asset.slack)))
    planned = datetime.fromtimestamp(plan.now, UTC)
    tags = {
        PLAN_TAG: plan.id,
        PLANNED_TAG: planned.isoformat(timespec="milliseconds"),
        REASON_TAG: _reason(urgent, plan.now),
        PRIORITY_TAG: str(priority_of(assets)),
    }
    if urgent.target is not None:
        tags[TARGET_TAG] = urgent.target
    if urgent.deadline is not None:
        deadline = datetime.fromtimestamp(urgent.deadline, UTC)
        tags[DEADLINE_TAG] = deadline.isoformat(timespec="seconds")
    if urgent.slack is not None:
        tags[SLACK_TAG] = f"{urgent.slack:.1f}"
    return tags


def _reason(asset: AssetPlan, now: float) -> str:
    """Return whom a request serves and why it is made `now`, in some ten words."""
    if asset.target is None:
        return asset.cause
    due = "" if asset.deadline is None else f", due {clock(asset.deadline, now)}"
    return f"for {asset.target}{due}: {asset.cause}"


def _or_never(time: float | None) -> float:
    return inf if time is None else time


def _checks(repository: RepositoryDefinition) -> list[frozenset[AssetCheckKey]]:
    """Return the asset checks that run with their assets, without freshline's own.

    A set holds checks that Dagster only runs together. freshline's own check is reported when a
    target's status changes.
    """
    together: set[frozenset[AssetCheckKey]] = set()
    for checks_def in repository.asset_checks_defs_by_key.values():
        keys = checks_def.check_keys
        apart = checks_def.can_subset or len(set(keys)) == 1
        together.update(map(frozenset, ([key] for key in keys) if apart else [keys]))
    for assets_def in repository.assets_defs_by_key.values():
        together.update(frozenset([key]) for key in assets_def.check_keys)
    return [keys for keys in together if all(key.name != LAG_CHECK for key in keys)]
