"""The lookout: how all targets stand now, and why one asset has not run, worked out anew.

It is read from the shared instance alone. Webserver, daemon and code locations may all be down:
what follows from that is worked out as a sensor would, and who is not heard of is named.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from dagster import DagsterInstance

from freshline.errors import InstanceError, UnknownNameError
from freshline.model import Phase
from freshline.planner import silent_locations
from freshline.sensor.outlook import Observer, Outlook
from freshline.status.document import (
    BROKEN,
    DAEMON,
    DAEMON_SILENT_AFTER,
    Explanation,
    Listener,
    Need,
    OnTheWay,
    Status,
    unreadable,
    worst_first,
)
from freshline.status.locations import location_of
from freshline.status.targets import hops_to, next_step_of, owners_in, target_of
from freshline.words import similar

__all__ = ["Lookout"]

_RUNNING: Final = (Phase.QUEUE, Phase.START, Phase.EXECUTION)


class Lookout:
    """Looks at the instance, again and again if asked to; remembers what has not changed."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self._observer = Observer()

    def status(self) -> Status:
        """Return how all targets stand now.

        Raises `InstanceError` if no location has published a contract, and what the storage raises.
        """
        now = time.time()
        outlook = self._look(now)
        snapshot = outlook.snapshot
        owners = owners_in(outlook.contracts)
        targets = [
            target_of(target, snapshot, outlook.ahead, owners.get(target.key, ()), now)
            for target in outlook.plan.targets.values()
        ]
        silent = silent_locations(outlook.graph, snapshot, now)
        stopped = _stopped_sensors(self._instance) if silent else {}
        locations = [
            location_of(it, snapshot, silent, stopped.get(it.location, ()))
            for it in outlook.contracts
        ]
        locations.extend(unreadable(name, why) for name, why in sorted(outlook.problems.items()))
        return Status(
            at=now,
            planned_at=now,
            plan=outlook.plan.id,
            kept=not any(target.status in BROKEN for target in targets),
            daemon=_daemon(self._instance, now),
            locations=tuple(locations),
            targets=tuple(worst_first(targets)),
        )

    def explain(self, key: str) -> Explanation:
        """Return why the asset `key` has not run.

        Raises `UnknownNameError` if no location makes it, `InstanceError` as `status`, and what the
        storage raises.
        """
        now = time.time()
        outlook = self._look(now)
        if key not in outlook.graph.assets:
            close = similar(key, outlook.graph.assets.keys())
            meant = f"; did you mean {close}?" if close else "."
            raise UnknownNameError(f"no location that has published here makes {key}{meant}")
        return _explanation(key, outlook, now)

    def _look(self, now: float) -> Outlook:
        outlook = self._observer.look(self._instance, now)
        if not outlook.contracts and not outlook.problems:
            raise InstanceError(
                "no location has published a contract in this instance. A location does when its "
                "sensor ticks: is Dagster's daemon running, and is this its instance?"
            )
        return outlook


def _daemon(instance: DagsterInstance, now: float) -> Listener:
    heartbeat = instance.get_daemon_heartbeats().get(DAEMON)
    if heartbeat is None:
        return Listener(last_heard_of=None, silent=True)
    return Listener(
        last_heard_of=heartbeat.timestamp, silent=now - heartbeat.timestamp > DAEMON_SILENT_AFTER
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


def _explanation(key: str, outlook: Outlook, now: float) -> Explanation:
    snapshot, plan, ahead = outlook.snapshot, outlook.plan, outlook.ahead
    asset, state = outlook.graph.assets[key], snapshot.state(key)
    planned, target = plan.assets.get(key), plan.targets.get(key)
    owners = owners_in(outlook.contracts).get(key, ())
    pending = state.pending or next((part.pending for part in state.parts if part.pending), None)
    step = ahead.next_step(key)
    upstream = step is not None and step.key != key and step.phase not in _RUNNING
    return Explanation(
        at=now,
        kept=target is None or target.status.value not in BROKEN,
        asset=key,
        location=asset.location,
        owners=tuple(owners),
        target=target_of(target, snapshot, ahead, owners, now) if target else None,
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


def _needed_by(key: str, outlook: Outlook) -> Collection[str]:
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
