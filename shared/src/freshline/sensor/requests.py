"""Requests: what a location asks Dagster to run, from the plan."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from math import inf

from dagster import AssetCheckKey, AssetKey, RunRequest

from freshline.model import AssetPlan, Graph, Plan, Snapshot
from freshline.names import DEADLINE_TAG, PLAN_TAG, PLANNED_TAG, REASON_TAG, SLACK_TAG, TARGET_TAG

__all__ = ["run_requests"]


def run_requests(
    plan: Plan,
    graph: Graph,
    snapshot: Snapshot,
    location: str,
    checks: Collection[frozenset[AssetCheckKey]],
) -> Iterator[RunRequest]:
    """Yield a run request for each group of assets of `location` that are due together.

    Of `checks`, it includes each set whose checks are all on these assets.
    """
    together: defaultdict[str, list[AssetPlan]] = defaultdict(list)
    for asset in plan.assets.values():
        if asset.request and graph.assets[asset.key].location == location:
            together[asset.run].append(asset)
    for _, assets in sorted(together.items()):
        keys = sorted(asset.key for asset in assets)
        yield RunRequest(
            run_key=run_key(keys, snapshot),
            asset_selection=[AssetKey.from_user_string(key) for key in keys],
            asset_check_keys=sorted(
                _checks_on(set(keys), checks), key=AssetCheckKey.to_user_string
            ),
            tags=_tags(assets, plan),
        )


def _checks_on(
    keys: set[str], checks: Collection[frozenset[AssetCheckKey]]
) -> Iterator[AssetCheckKey]:
    for together in checks:
        if all(check.asset_key.to_user_string() in keys for check in together):
            yield from together


def run_key(keys: Iterable[str], snapshot: Snapshot) -> str:
    """Return the run key: the same for the same assets in the same state.

    So Dagster starts one run for each state. A run that is created, fails, is deleted or delivers
    changes the state, and so does a wipe.
    """
    digest = hashlib.sha256()
    for key in sorted(keys):
        state = snapshot.state(key)
        version = state.version.id if state.version else 0
        digest.update(f"{key}\0{version}\0{state.last_run_id}\0{state.failures}\n".encode())
    return digest.hexdigest()[:32]


def _tags(assets: Iterable[AssetPlan], plan: Plan) -> dict[str, str]:
    """Return tags that say why the run exists: the reason of its most urgent asset."""
    urgent = min(assets, key=lambda asset: (_or_never(asset.deadline), _or_never(asset.slack)))
    planned = datetime.fromtimestamp(plan.now, UTC)
    tags = {
        PLAN_TAG: plan.id,
        PLANNED_TAG: planned.isoformat(timespec="milliseconds"),
        REASON_TAG: urgent.reason,
    }
    if urgent.target is not None:
        tags[TARGET_TAG] = urgent.target
    if urgent.deadline is not None:
        deadline = datetime.fromtimestamp(urgent.deadline, UTC)
        tags[DEADLINE_TAG] = deadline.isoformat(timespec="seconds")
    if urgent.slack is not None:
        tags[SLACK_TAG] = f"{urgent.slack:.1f}"
    return tags


def _or_never(time: float | None) -> float:
    return inf if time is None else time
