"""The sensor of a code location: at each tick it asks the planner what to run, and requests that.

Every location's sensor computes the same plan, and requests its own part of it. It reads what
it needs from the shared instance (`outlook`) and returns what Dagster is to write: run
requests (`requests`), the location's contract, the results of the asset checks (`lag_check`,
`contract_checks`), and a message for people (`message`). The cursor keeps what was reported. It
also writes into the instance how the location's targets stand (`status_row`).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final, NamedTuple

from dagster import (
    AssetSelection,
    DagsterInstance,
    DefaultSensorStatus,
    RepositoryDefinition,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from sqlalchemy.exc import SQLAlchemyError

from freshline.contract import (
    Contract,
    PublishedContract,
    contract_materialization,
    heartbeat,
)
from freshline.contract.publication import digest
from freshline.errors import TickError
from freshline.model import HEARTBEAT, Plan
from freshline.planner import DANGLING_AFTER, requested_groups
from freshline.sensor.contract_checks import basis_of_findings, contract_evaluations
from freshline.sensor.cursor import Cursor
from freshline.sensor.foreign_checks import ForeignChecks
from freshline.sensor.grace import has_settled, in_grace
from freshline.sensor.instance import TickInstance
from freshline.sensor.lag_check import lag_evaluation, recorded_state
from freshline.sensor.message import tick_message
from freshline.sensor.outlook import Observer, Outlook
from freshline.sensor.pace import Pace
from freshline.sensor.requests import Requester
from freshline.sensor.status_row import status_row
from freshline.sensor.views import CheckedViews
from freshline.status.rows import write_row
from freshline.words import first_line

__all__ = ["build_freshness_sensor"]

_PUBLISH_EVERY: Final = 86_400.0
"""Seconds after which a contract is published again although nothing changed."""

_SOON: Final = 120.0
"""Seconds: of what is to start within them, the inputs are waited for."""

_DAEMON_INTERVAL: Final = 5
"""Seconds between two looks of Dagster's daemon at all sensors (its `MIN_INTERVAL_LOOP_TIME`)."""

_INTERVAL_SLACK: Final = 2
"""Seconds by which the interval that a sensor asks for is shorter than its tick. With a whole tick,
the daemon would often come a few milliseconds too early and run the sensor only five seconds
later: every other tick of 5 s would take 10 s."""


def build_freshness_sensor(
    name: str = "update_sensor",
    *,
    location: str,
    tick_seconds: int = 5,
    observes: bool = False,
) -> SensorDefinition:
    """Return the sensor that requests the assets of `location` when some policy needs them.

    It plans every `tick_seconds`. If it `observes`, it requests nothing and says what it would
    request. `with_freshline` adds it with all that it needs. Raises `TickError` for less than 5
    seconds, which is how often Dagster's daemon looks at sensors.
    """
    if tick_seconds < _DAEMON_INTERVAL:
        raise TickError(
            f"tick_seconds={tick_seconds} of location {location!r} is less than "
            f"{_DAEMON_INTERVAL}: Dagster's daemon looks at sensors every {_DAEMON_INTERVAL} "
            f"seconds. Use {_DAEMON_INTERVAL} or more."
        )
    ticker = _Ticker(location, float(tick_seconds), observes=observes)
    instances = TickInstance()
    says = "says when it would request" if observes else "requests"
    whole_intervals = tick_seconds // _DAEMON_INTERVAL
    # Dagster calls the argument a beta. Without it, it refuses to observe a source.
    warnings.filterwarnings(
        "ignore", message=".*`include_sources` of function `AssetSelection.all`"
    )

    @sensor(
        name=name,
        asset_selection=AssetSelection.all(include_sources=True),
        minimum_interval_seconds=whole_intervals * _DAEMON_INTERVAL - _INTERVAL_SLACK,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            f"Publishes what {location} makes and needs, and {says} its assets as late "
            "as every maximum lag allows, its own and other locations'."
        ),
    )
    def update_sensor(context: SensorEvaluationContext) -> SensorResult:
        with ticker.lock, instances.of(context) as instance:
            return ticker.tick(context, instance)

    return update_sensor


class _OwnPart(NamedTuple):
    """What a location's definitions say, and what requests its runs."""

    repository: RepositoryDefinition
    contract: Contract
    requester: Requester
    foreign_checks: ForeignChecks
    views: CheckedViews


class _Said(NamedTuple):
    """A tick that has reported all there was, and has requested nothing."""

    outlook: Outlook
    part: _OwnPart
    cursor: str
    refused: Mapping[str, str]


class _Ticker:
    """One location's sensor, with what it remembers from tick to tick."""

    def __init__(self, location: str, tick_seconds: float, *, observes: bool) -> None:
        self.lock: Final = Lock()
        self._location = location
        self._tick_seconds = tick_seconds
        self._observer = Observer()
        self._pace = Pace(tick_seconds)
        self._published_at: float | None = None
        self._observers: Final = (location,) if observes else ()
        self._own: _OwnPart | None = None
        self._said: _Said | None = None
        self._digest: tuple[Contract, str] | None = None
        self._written: tuple[Plan, float] | None = None
        """The plan whose status was written last, or was to be, and when."""
        self._unwritten = ""
        """Why it could not be written; "": it was."""

    def tick(self, context: SensorEvaluationContext, instance: DagsterInstance) -> SensorResult:
        """Return what this location requests and reports now."""
        now = time.time()
        self._pace.add_tick(now)
        repository = context.repository_def
        if repository is None:
            raise RuntimeError("the freshness sensor needs its repository in the context")
        part = self._own_part(repository)
        own = part.contract.with_unlaunchable(part.requester.refused)
        outlook = self._observer.look(instance, now, own, self._observers, self._pace)
        own = outlook.contract(self._location) or own
        tick = outlook.snapshot.ticks.get(self._location)
        self._write_status(instance, outlook, own)
        publication = self._publication(outlook.published.get(self._location), own, tick, now)
        said, self._said = self._said, None
        if said is not None and _is_quiet(said, outlook, part, context.cursor):
            self._said = said
            return SensorResult(
                skip_reason=tick_message(
                    outlook, self._location, (), said.refused, self._unwritten
                ),
                asset_events=publication,
                cursor=said.cursor,
            )
        reported = Cursor.read(context.cursor)
        events: list[Any] = [
            *publication,
            *self._changed_targets(outlook, reported),
            *self._checked_contracts(outlook, reported),
        ]
        reported.awaits = _awaited(outlook, self._location)
        groups = requested_groups(outlook.plan, outlook.graph, self._location)
        requests: list[RunRequest] = []
        if not self._observers and self._location not in outlook.snapshot.pauses:
            graph, snapshot = outlook.graph, outlook.snapshot
            places = part.views.places(graph)
            requests.extend(
                part.requester.requests(
                    groups, outlook.plan, graph, snapshot, instance, places.tables
                )
            )
            requests.extend(
                part.foreign_checks.requests(
                    instance, graph, snapshot, places.apart, reported.checks
                )
            )
        refused = part.requester.refused_checks | part.foreign_checks.refused
        refused |= part.requester.refused_parts
        message = tick_message(outlook, self._location, groups, refused, self._unwritten)
        if not requests:
            self._said = _Said(outlook, part, reported.to_text(), refused)
        return SensorResult(
            run_requests=requests,
            skip_reason=None if requests else message,
            asset_events=events,
            cursor=reported.to_text(),
        )

    def _own_part(self, repository: RepositoryDefinition) -> _OwnPart:
        """Return the same object as long as the repository is the same."""
        if self._own is None or self._own.repository is not repository:
            contract = Contract.from_definitions(
                repository, self._location, tick_seconds=self._tick_seconds
            )
            requester = Requester(repository)
            checks = requester.checks
            self._own = _OwnPart(
                repository,
                contract,
                requester,
                ForeignChecks(repository, checks),
                CheckedViews(repository, self._location, checks),
            )
        return self._own

    def _publication(
        self, last: PublishedContract | None, own: Contract, tick: float | None, now: float
    ) -> list[Any]:
        """Return the contract if it has changed or is old, else a heartbeat if one is due.

        One is due once a minute, and when the measured `tick` is another one.
        """
        if (
            last is None
            or last.digest != self._digest_of(own)
            or now - last.content_at >= _PUBLISH_EVERY
        ):
            event = contract_materialization(own, tick)
        elif last.tick != tick or self._is_heartbeat_due(last, now):
            event = heartbeat(last, tick)
        else:
            return []
        self._published_at = now
        return [event]

    def _is_heartbeat_due(self, last: PublishedContract, now: float) -> bool:
        # By this host's clock if possible: `published_at` is by the clock of the daemon's host.
        said_at = self._published_at or last.published_at
        return now - said_at >= HEARTBEAT - self._tick_seconds

    def _write_status(self, instance: DagsterInstance, outlook: Outlook, own: Contract) -> None:
        """Write how the location's targets stand, if there is a new plan or the last one is old."""
        if self._written is not None:
            plan, at = self._written
            if plan is outlook.plan and outlook.now - at < HEARTBEAT - self._tick_seconds:
                return
        try:
            write_row(instance, status_row(own, outlook))
            self._unwritten = ""
        except SQLAlchemyError as error:
            # `freshline status` takes longer without it. That must not stop the location's assets.
            self._unwritten = first_line(error)
        self._written = outlook.plan, outlook.now

    def _digest_of(self, own: Contract) -> str:
        """Return the digest of `own`; for the same object, it is remembered."""
        if self._digest is None or self._digest[0] is not own:
            self._digest = own, digest(own)
        return self._digest[1]

    def _changed_targets(self, outlook: Outlook, reported: Cursor) -> list[Any]:
        """Return the check results of those targets of this location that were not recorded so."""
        own = {target.key: target for target in outlook.targets_in(self._location)}
        states = {
            key: recorded_state(target, outlook.snapshot.state(key).version)
            for key, target in own.items()
        }
        changed = [
            target
            for key, target in own.items()
            if reported.targets.get(key) != states[key] and not in_grace(target, outlook)
        ]
        reported.targets = {key: state for key, state in reported.targets.items() if key in own} | {
            target.key: states[target.key] for target in changed
        }
        return [lag_evaluation(target, outlook.plan.now) for target in changed]

    def _checked_contracts(self, outlook: Outlook, reported: Cursor) -> list[Any]:
        """Return the results of the contract checks, if what they depend on has changed."""
        basis = basis_of_findings(outlook, self._location)
        if reported.contracts == basis or not has_settled(outlook):
            return []
        reported.contracts = basis
        return list(contract_evaluations(outlook, self._location))


def _awaited(outlook: Outlook, location: str) -> list[str]:
    """Return the inputs of what the location is to request soon, but not now."""
    assets, horizon = outlook.graph.assets, outlook.now + _SOON
    inputs = {
        dep
        for planned in outlook.plan.assets.values()
        if assets[planned.key].location == location and not planned.request
        if planned.due is not None and planned.due <= horizon
        for dep in assets[planned.key].deps
    }
    return sorted(inputs)


def _is_quiet(said: _Said, outlook: Outlook, part: _OwnPart, cursor: str | None) -> bool:
    """Return whether an earlier tick has reported all that there is to report.

    While contracts are new, reports wait for some time to pass.
    """
    first = said.outlook
    return (
        outlook.plan is first.plan
        and part is said.part
        and cursor == said.cursor
        and first.changed_at + DANGLING_AFTER < first.now
    )
