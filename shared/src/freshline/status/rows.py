"""The row that the sensor of each location writes into the instance: how its own targets stand.

All sensors compute the same plan, and each writes its own part of what follows, over what it wrote
before. So a reader learns in one question how thousands of targets stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from freshline.model import HEARTBEAT, TargetStatus
from freshline.status.document import SCHEMA_VERSION, Listener, Location, Status, Target

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["ROW_PREFIX", "StatusRow", "rows_in", "status_from", "write_row"]

ROW_PREFIX: Final = "freshline/status/"
"""Before the name of the location, in the keys of Dagster's store of keys and values."""

_TRUSTED: Final = 1.5 * HEARTBEAT
"""Seconds for which a row is trusted, if ticks are not longer: a sensor writes it anew with each
plan, and at least once in a `HEARTBEAT`."""


class StatusRow(BaseModel):
    """What one location has written. Times are epoch seconds; so they are in JSON, to be fast."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    location: Location
    at: float
    tick: float
    """Seconds between two plans of the location."""
    plan: str
    published: tuple[str, ...]
    """The locations whose contracts make up the plan, sorted."""
    silent: tuple[str, ...]
    """Those of them that are not heard of."""
    problems: dict[str, str]
    """Locations whose contract cannot be read, and why."""
    targets: tuple[Target, ...]
    """Its own."""


def write_row(instance: DagsterInstance, row: StatusRow) -> None:
    """Write `row` in the place of the one that its location has written before.

    Raises what the storage raises.
    """
    text = json.dumps(row.model_dump(), ensure_ascii=False, separators=(",", ":"))
    instance.daemon_cursor_storage.set_cursor_values({ROW_PREFIX + row.location.location: text})


def rows_in(texts: Iterable[str]) -> list[StatusRow]:
    """Return the rows with these `texts`, without those of another version of freshline."""
    found = []
    for text in texts:
        try:
            row = StatusRow.model_validate_json(text)
        except ValidationError:
            continue  # `status_from` misses the location, and says that it cannot tell
        if row.schema_version == SCHEMA_VERSION:
            found.append(row)
    return found


def status_from(rows: Sequence[StatusRow], daemon: Listener, now: float) -> Status | None:
    """Return the status at `now` (UTC, epoch seconds) that follows from `rows`; None: none does.

    One does if every location has written lately, all know of the same locations, none is silent,
    and no target that was fresh has become late since.
    """
    recent = {it.location.location: it for it in rows if now - it.at <= max(_TRUSTED, 2 * it.tick)}
    known = {it.published for it in recent.values()}
    if known != {tuple(sorted(recent))} or any(it.silent for it in recent.values()):
        return None
    targets = _targets(recent.values(), now)
    if any(it.status == TargetStatus.FRESH and (it.deadline or now) < now for it in targets):
        return None
    newest = max(recent.values(), key=lambda it: it.at)
    return Status.made_of(
        at=now,
        planned_at=min(it.at for it in recent.values()),
        plan=newest.plan,
        daemon=daemon,
        locations=[recent[name].location for name in sorted(recent)],
        problems=newest.problems,
        targets=targets,
    )


def _targets(recent: Iterable[StatusRow], now: float) -> list[Target]:
    """Return all targets, with their lags at `now`."""
    return [
        target.model_copy(update={"lag_seconds": target.lag_seconds + now - it.at})
        if target.lag_seconds is not None
        else target
        for it in recent
        for target in it.targets
    ]
