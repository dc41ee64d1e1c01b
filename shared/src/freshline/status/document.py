"""The status of a workspace and of one asset as values: what `freshline status --json` prints.

The names are an interface. A new field is no break; anything else gets another `SCHEMA_VERSION`.
Points in time are epoch seconds here and ISO 8601 in UTC in the JSON; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from freshline.json_values import Time
from freshline.model import BROKEN, DEFAULT_TICK, TargetStatus

__all__ = [
    "DAEMON",
    "SCHEMA_VERSION",
    "Explanation",
    "HeldUpBy",
    "Hop",
    "Listener",
    "Location",
    "Need",
    "NextStep",
    "OnTheWay",
    "Status",
    "Target",
    "json_schema",
]

SCHEMA_VERSION: Final = 1

DAEMON: Final = "SENSOR"
"""The name under which the part of Dagster's daemon that evaluates sensors sends heartbeats."""

_DAEMON_SILENT_AFTER: Final = 120.0
"""Seconds without a heartbeat after which the daemon counts as silent. It sends one every 30 s."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class HeldUpBy(_Value):
    """What a target that is late or blocked waits for."""

    location: str
    asset: str
    phase: str = Field(
        description="wait, queue, start, execution, failing, silent, unscheduled, paused, unknown."
    )
    since: Time | None
    message: str


class NextStep(_Value):
    """What happens next on the way to an asset: to itself, or to what it waits for."""

    asset: str
    location: str
    phase: str = Field(description="As in `held_up_by`; wait: it is to start when it is due.")
    since: Time | None = Field(description="Since when it is in that phase; null: not known.")
    due: Time | None = Field(
        description="When it is to start; null: it has, or nothing is planned."
    )


class Hop(_Value):
    """An asset on the slowest way to a target."""

    asset: str
    location: str
    seconds: float = Field(description="What it adds to the age of the data, on average.")
    share: float = Field(description="Its part of the whole way, from 0 to 1.")


class Target(_Value):
    """How a target stands."""

    asset: str
    location: str
    owners: tuple[str, ...]
    status: str = Field(description="fresh, late, blocked, infeasible or paused.")
    lag_seconds: float | None = Field(description="Null: not known.")
    maximum_lag_seconds: float
    cron: str | None = Field(description="The lag counts at its ticks; null: at all times.")
    timezone: str | None = Field(description="The one that the cron is read in; null: UTC.")
    data_time: Time | None
    deadline: Time | None = Field(description="Until when its version is good enough.")
    shortest_possible_seconds: float | None = Field(
        description="The shortest maximum lag that its path can hold."
    )
    measured: bool = Field(description="Whether all runs on its path were measured, not assumed.")
    reason: str = Field(description="One sentence for people.")
    held_up_by: HeldUpBy | None
    next: NextStep | None
    expected: Time | None = Field(
        description="By when its next version is expected; null: not known."
    )
    path: tuple[Hop, ...] = Field(description="The slowest way to it, the root first.")
    unchanged_since: Time | None = Field(
        description="Since when nothing has changed upstream, if it is fresh because of that."
    )
    never_promised: dict[str, int] = Field(
        description="How many partitions are missing that are too old to be promised, by asset."
    )


class Listener(_Value):
    """Dagster's daemon, which has the sensors tick."""

    last_heard_of: Time | None = Field(description="Null: never.")
    silent: bool

    @classmethod
    def heard(cls, at: float | None, now: float) -> Self:
        """Return how it stands at `now`, if it was last heard of `at`; None: never."""
        return cls(last_heard_of=at, silent=at is None or now - at > _DAEMON_SILENT_AFTER)


class Location(_Value):
    """A code location that has published a contract."""

    location: str
    last_heard_of: Time | None
    silent: bool = Field(description="It sends no signs of life: its targets are blocked.")
    stopped_sensors: tuple[str, ...] = Field(
        description="Its sensors that were stopped in Dagster; looked up if it is silent."
    )
    observes: bool = Field(description="It requests nothing, on purpose.")
    declared_tick_seconds: float = Field(description="How far apart its ticks are to be.")
    measured_tick_seconds: float | None = Field(
        description="How far apart they are, if that is markedly more; null: it is not."
    )
    paused_until: Time | None
    pause_reason: str | None
    problem: str | None = Field(description="Why its contract cannot be read; null: it can.")
    replaced: str | None = Field(
        description="Who makes its assets now while it is silent, and what to do; null: nobody."
    )


class Status(_Value):
    """How all targets stand."""

    schema_version: int = SCHEMA_VERSION
    at: Time
    planned_at: Time = Field(
        description="When the oldest plan was made that it follows from: it may be that of the last"
        " tick of a sensor."
    )
    plan: str = Field(description="The plan that it follows from, as in the tags of runs.")
    kept: bool = Field(description="Whether no promise is broken: no target is late or blocked.")
    daemon: Listener
    locations: tuple[Location, ...]
    targets: tuple[Target, ...] = Field(description="Those in trouble first, the latest first.")

    @classmethod
    def made_of(
        cls,
        *,
        at: float,
        planned_at: float,
        plan: str,
        daemon: Listener,
        locations: Iterable[Location],
        problems: Mapping[str, str],
        targets: Iterable[Target],
    ) -> Self:
        """Return the status with these parts.

        `problems` are the locations whose contract cannot be read, and why.
        """
        ordered = sorted(targets, key=_urgency)
        unreadable = (_unreadable(name, why) for name, why in sorted(problems.items()))
        return cls(
            at=at,
            planned_at=planned_at,
            plan=plan,
            kept=not any(target.status in BROKEN for target in ordered),
            daemon=daemon,
            locations=(*locations, *unreadable),
            targets=tuple(ordered),
        )


class Need(_Value):
    """Something that has to be true before an asset is requested."""

    text: str
    met: bool


class OnTheWay(_Value):
    """An asset on the way to the one that is explained, and what the plan says of it."""

    asset: str
    location: str
    seconds: float
    share: float
    data_time: Time | None
    made_at: Time | None
    reason: str


class Explanation(_Value):
    """Why an asset has not run, what it waits for, and what would have to be true."""

    schema_version: int = SCHEMA_VERSION
    at: Time
    kept: bool = Field(description="Whether the promise of the asset is not broken, if it has one.")
    asset: str
    location: str
    owners: tuple[str, ...]
    target: Target | None = Field(description="How it stands; null: it has no policy.")
    needed_by: tuple[str, ...] = Field(description="The targets that it is made for.")
    data_time: Time | None
    made_at: Time | None
    run_id: str | None = Field(description="The run that makes it now; null: none does.")
    requested: bool = Field(description="It is requested at the next tick.")
    due: Time | None
    expected: Time | None
    reason: str = Field(description="Why it is or is not requested: one sentence for people.")
    needs: tuple[Need, ...]
    waits_for: NextStep | None
    waits_for_needs: tuple[Need, ...] = Field(
        description="What has to be true before that one is requested; [] if it runs, or is itself."
    )
    path: tuple[OnTheWay, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of what `freshline status --json` prints, with and without a key."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "freshline status --json",
        **TypeAdapter(Status | Explanation).json_schema(mode="serialization"),
    }


def _unreadable(location: str, problem: str) -> Location:
    return Location(
        location=location,
        last_heard_of=None,
        silent=False,
        stopped_sensors=(),
        observes=False,
        declared_tick_seconds=DEFAULT_TICK,
        measured_tick_seconds=None,
        paused_until=None,
        pause_reason=None,
        problem=problem,
        replaced=None,
    )


def _urgency(target: Target) -> tuple[int, float, str]:
    """Return what comes first in a sorted list: a broken promise, then the earliest deadline."""
    kind = 0 if target.status in BROKEN else 1 if target.status != TargetStatus.FRESH else 2
    return kind, -inf if target.deadline is None else target.deadline, target.asset
