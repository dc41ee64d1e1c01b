"""The overview: how all targets stand now, and why one asset has not run.

Both follow from an outlook, which is what a sensor would see. Webserver, daemon and code locations
may all be down; who is not heard of is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dagster import DagsterInstance

from freshline.errors import InstanceError, UnknownNameError
from freshline.model import BROKEN, DOING
from freshline.planner import silent_locations
from freshline.sensor.outlook import Outlook
from freshline.status.document import (
    DAEMON,
    Explanation,
    Listener,
    Need,
    OnTheWay,
    Status,
)
from freshline.status.locations import location_of
from freshline.status.targets import hops_to, next_step_of, target_of
from freshline.words import similar

__all__ = ["explanation_of", "refuse_without_contracts", "status_of"]


def refuse_without_contracts(outlook: Outlook) -> None:
    """Raise `InstanceError` if no location has published a contract: there is nothing to say."""
    if not outlook.contracts and not outlook.problems:
        raise InstanceError(
            "no location has published a contract in this instance. A location does when its "
            "sensor ticks: is Dagster's daemon running, and is this its instance?"
        )


def status_of(outlook: Outlook, instance: DagsterInstance) -> Status:
    """Return how all targets stand. `instance` is asked who else is not heard of.

    Raises what the storage raises.
    """
    snapshot, now = outlook.snapshot, outlook.now
    contracts = {contract.location: contract for contract in outlook.contracts}
    silent = silent_locations(outlook.graph, snapshot, now)
    stopped = _stopped_sensors(instance) if silent else {}
    heartbeat = instance.get_daemon_heartbeats().get(DAEMON)
    return Status.made_of(
        at=now,
        planned_at=now,
        plan=outlook.plan.id,
        daemon=Listener.heard(heartbeat.timestamp if heartbeat else None, now),
        locations=[
            location_of(
                it,
                snapshot,
                silent,
                stopped.get(it.location, ()),
                outlook.replaced.get(it.location),
            )
            for it in outlook.contracts
        ],
        problems=outlook.problems,
        targets=[
            target_of(target, outlook.ahead, contracts[target.location])
            for target in outlook.plan.targets.values()
        ],
    )


def _stopped_sensors(instance: DagsterInstance) -> Mapping[str, Sequence[str]]:
    """Return the names of the sensors that somebody has stopped in Dagster, by location."""
    stopped: dict[str, list[str]] = {}
    for state in instance.all_instigator_state():
        if state.instigator_type.value == "SENSOR" and not state.is_running:
            location = state.origin.repository_origin.code_location_origin.location_name
            stopped.setdefault(location, []).append(state.instigator_name)
    return stopped


# --- one asset -----------------------------------------------------------------------------------


def explanation_of(key: str, outlook: Outlook) -> Explanation:
    """Return why the asset `key` has not run. Raises `UnknownNameError` if no location makes it."""
    if key not in outlook.graph.assets:
        close = similar(key, outlook.graph.assets.keys())
        meant = f"; did you mean {close}?" if close else "."
        raise UnknownNameError(f"no location that has published here makes {key}{meant}")
    plan, ahead = outlook.plan, outlook.ahead
    asset, state = outlook.graph.assets[key], outlook.snapshot.state(key)
    planned, target = plan.assets.get(key), plan.targets.get(key)
    contract = outlook.contract(asset.location)
    pending = state.pending or next((part.pending for part in state.parts if part.pending), None)
    step = ahead.next_step(key)
    upstream = step is not None and step.key != key and step.phase not in DOING
    return Explanation(
        at=outlook.now,
        kept=target is None or target.status not in BROKEN,
        asset=key,
        location=asset.location,
        owners=contract.owners_of(key) if contract else (),
        target=target_of(target, ahead, contract) if target and contract else None,
        needed_by=tuple(sorted(_needed_by(key, outlook))),
        data_time=state.version.data_time if state.version else None,
        made_at=state.version.at if state.version else None,
        run_id=pending.run_id if pending else None,
        requested=planned is not None and planned.request,
        due=planned.due if planned else None,
        expected=planned.expected if planned else None,
        reason=planned.reason if planned else asset.never_requested or "no policy needs it",
        needs=() if pending else _needs(outlook, key),
        waits_for=next_step_of(step),
        waits_for_needs=_needs(outlook, step.key) if step and upstream else (),
        path=tuple(_on_the_way(key, outlook)),
    )


def _needs(outlook: Outlook, key: str) -> tuple[Need, ...]:
    return tuple(Need(text=need.text, met=need.met) for need in outlook.ahead.needs(key))


def _on_the_way(key: str, outlook: Outlook) -> Iterator[OnTheWay]:
    for hop in hops_to(key, outlook.ahead):
        version = outlook.snapshot.state(hop.asset).version
        yield OnTheWay(
            asset=hop.asset,
            location=hop.location,
            seconds=hop.seconds,
            share=hop.share,
            data_time=version.data_time if version else None,
            made_at=version.at if version else None,
            reason=outlook.plan.assets[hop.asset].reason,
        )


def _needed_by(key: str, outlook: Outlook) -> set[str]:
    """Return the targets that `key` is made for, without itself."""
    readers: dict[str, list[str]] = {}
    for name, asset in outlook.graph.assets.items():
        for dep in asset.deps:
            readers.setdefault(dep, []).append(name)
    found, waiting = {key}, [key]
    while waiting:
        new = set(readers.get(waiting.pop(), ())) - found
        found |= new
        waiting.extend(new)
    return (found & outlook.plan.targets.keys()) - {key}
