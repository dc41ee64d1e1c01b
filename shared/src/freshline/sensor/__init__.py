"""The sensor: joins contracts, history and planner, once a tick, in every location.

Every location's sensor computes the same plan and requests its own part of it. What a tick
needs it reads from the shared instance; what it has to say it hands to Dagster, which writes
it: run requests, the contract, the checks. The cursor remembers what has been said.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any, Final

from dagster import (
    AssetCheckKey,
    AssetSelection,
    DefaultSensorStatus,
    RepositoryDefinition,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from freshline.contract import (
    Contract,
    PublishedContract,
    contract_materialization,
    heartbeat,
)
from freshline.contract.publication import digest
from freshline.model import HEARTBEAT, Plan, TargetPlan, TargetStatus
from freshline.names import LAG_CHECK
from freshline.planner import DANGLING_AFTER
from freshline.sensor.contract_checks import contract_evaluations
from freshline.sensor.lag_check import evaluation
from freshline.sensor.message import tick_message
from freshline.sensor.outlook import Observer, Outlook
from freshline.sensor.requests import run_requests

__all__ = ["build_freshness_sensor"]

_REPEAT: Final = 86_400.0  # seconds until a contract is published again though nothing changed
_SETTLING: Final = 15.0  # seconds without a changed contract, until all are checked together

_LOOK: Final = 5
"""Seconds between the looks that Dagster's daemon takes at all sensors (its
`MIN_INTERVAL_LOOP_TIME`)."""
_TREMBLE: Final = 2
"""Seconds by which a sensor asks for less than its tick. Of an interval of exactly a tick, the
look that should end it finds a few milliseconds missing half of the time, and the next one comes
five seconds later: with ticks of 5 s, every other one would take 10 s."""


def build_freshness_sensor(
    name: str = "update_sensor",
    *,
    location: str,
    tick_seconds: int = 5,
) -> SensorDefinition:
    """The sensor that keeps every policy's promise as far as `location` is concerned.

    It plans every `tick_seconds`; `with_freshline` adds it with all it needs. Raises
    `ValueError` for less than 5 seconds, which is how often Dagster's daemon looks at sensors.
    """
    if tick_seconds < _LOOK:
        raise ValueError(
            f"tick_seconds={tick_seconds} of location {location!r} is less than {_LOOK}: "
            f"Dagster's daemon looks at sensors every {_LOOK} seconds. Use {_LOOK} or more."
        )
    planner = _Planner(location, float(tick_seconds))

    @sensor(
        name=name,
        asset_selection=AssetSelection.all(),
        minimum_interval_seconds=tick_seconds // _LOOK * _LOOK - _TREMBLE,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            f"Publishes what {location} makes and needs, and requests its assets at the last "
            "moment that keeps every maximum lag, its own and other locations'."
        ),
    )
    def update_sensor(context: SensorEvaluationContext) -> SensorResult:
        with planner.lock:
            return planner.tick(context)

    return update_sensor


@dataclass(slots=True)
class _Said:
    """What earlier ticks have recorded; travels in the sensor's cursor."""

    targets: dict[str, str] = field(default_factory=dict)
    """The state of each of the location's targets."""
    contracts: str = ""
    """What all contracts together were, and what was known of their policies, when they were
    last checked."""

    @classmethod
    def of(cls, cursor: str | None) -> _Said:
        try:
            known = json.loads(cursor or "{}")
            return cls(dict(known.get("targets", {})), str(known.get("contracts", "")))
        except (ValueError, TypeError, AttributeError):
            return cls()  # somebody set the cursor by hand: say everything again

    def cursor(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


class _Planner:
    """One location's sensor, with what it remembers from tick to tick."""

    def __init__(self, location: str, tick_seconds: float) -> None:
        self.lock: Final = Lock()
        self._location = location
        self._tick_seconds = tick_seconds
        self._observer = Observer()
        self._spoke_at: float | None = None
        self._own: tuple[RepositoryDefinition, Contract, list[frozenset[AssetCheckKey]]] | None = (
            None
        )

    def tick(self, context: SensorEvaluationContext) -> SensorResult:
        now = time.time()
        said = _Said.of(context.cursor)
        repository = context.repository_def
        if repository is None:
            raise RuntimeError("the freshness sensor needs its repository in the context")
        own, checks = self._own_part(repository)
        outlook = self._observer.look(context.instance, now, own)
        events: list[Any] = []
        events += self._publication(outlook.published.get(self._location), own, now)
        events += self._verdicts(outlook.plan, said)
        events += self._checked_contracts(outlook, said)
        requests = list(
            run_requests(
                outlook.plan,
                outlook.graph,
                outlook.snapshot,
                self._location,
                checks,
            )
        )
        idle = tick_message(outlook.plan, outlook.graph, self._location, outlook.problems)
        return SensorResult(
            run_requests=requests,
            skip_reason=None if requests else idle,
            asset_events=events,
            cursor=said.cursor(),
        )

    def _own_part(
        self, repository: RepositoryDefinition
    ) -> tuple[Contract, list[frozenset[AssetCheckKey]]]:
        """The location's contract and the checks of its assets, from its own definitions."""
        if self._own is None or self._own[0] is not repository:
            contract = Contract.from_definitions(
                repository, self._location, tick_seconds=self._tick_seconds
            )
            self._own = repository, contract, _checks(repository)
        return self._own[1:]

    def _publication(self, last: PublishedContract | None, own: Contract, now: float) -> list[Any]:
        """The contract when it has changed or is old, and a sign of life before one is due."""
        if last is None or last.digest != digest(own) or now - last.content_at >= _REPEAT:
            said = contract_materialization(own)
        # By this host's clock, if possible: `published_at` is by that of the daemon's.
        elif now - (self._spoke_at or last.published_at) >= HEARTBEAT - self._tick_seconds:
            said = heartbeat(last)
        else:
            return []
        self._spoke_at = now
        return [said]

    def _verdicts(self, plan: Plan, said: _Said) -> list[Any]:
        """What to record about this location's targets: only what has changed."""
        own = {
            key: target for key, target in plan.targets.items() if target.location == self._location
        }
        changed = [
            target
            for key, target in own.items()
            if said.targets.get(key) != target.status.value and not _in_grace(target, plan.now)
        ]
        said.targets = {key: state for key, state in said.targets.items() if key in own} | {
            target.key: target.status.value for target in changed
        }
        return [evaluation(target) for target in changed]

    def _checked_contracts(self, outlook: Outlook, said: _Said) -> list[Any]:
        """How this location stands with the others, once after a change of what decides that."""
        settled = max(outlook.snapshot.since.values()) + _SETTLING <= outlook.plan.now
        known = _known_of_contracts(outlook, self._location)
        if said.contracts == known or not settled:
            return []
        said.contracts = known
        return list(contract_evaluations(outlook, self._location))


def _known_of_contracts(outlook: Outlook, location: str) -> str:
    """What the contracts say together, and what runs have shown of the time that paths take:
    whether every asset was measured, and which of the location's policies are too short."""
    states = outlook.snapshot.assets
    measured = all(key in states and states[key].durations.execution for key in outlook.plan.assets)
    short = sorted(
        target.key
        for target in outlook.plan.targets.values()
        if target.location == location and (target.shortest or 0.0) > target.maximum
    )
    return " ".join([outlook.digest, "measured" if measured else "estimated", *short])


def _in_grace(target: TargetPlan, now: float) -> bool:
    """At start-up contracts arrive one by one: one that is missing yet is no news."""
    blame = target.blame
    return (
        target.status is TargetStatus.BLOCKED
        and blame is not None
        and blame.phase == "unknown"
        and blame.since is not None
        and now - blame.since <= DANGLING_AFTER
    )


def _checks(repository: RepositoryDefinition) -> list[frozenset[AssetCheckKey]]:
    """The asset checks of the location that run with their assets, those together that Dagster
    refuses to run apart. Without our own: they are recorded when a target's state changes."""
    together: set[frozenset[AssetCheckKey]] = set()
    for checks_def in repository.asset_checks_defs_by_key.values():
        keys = checks_def.check_keys
        apart = checks_def.can_subset or len(set(keys)) == 1
        together.update(map(frozenset, ([key] for key in keys) if apart else [keys]))
    for assets_def in repository.assets_defs_by_key.values():
        together.update(frozenset([key]) for key in assets_def.check_keys)
    return [keys for keys in together if all(key.name != LAG_CHECK for key in keys)]
