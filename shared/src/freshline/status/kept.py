"""What the sensor of each location keeps in the instance: how its own targets stand.

All sensors compute the same plan, and each keeps its own part of what follows, in a row that it
overwrites. So a reader learns in one question how thousands of targets stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from freshline.model import HEARTBEAT
from freshline.status.document import (
    BROKEN,
    SCHEMA_VERSION,
    Listener,
    Location,
    Status,
    Target,
    unreadable,
    worst_first,
)

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["KEPT_PREFIX", "Kept", "keep", "kept_in", "status_from"]

KEPT_PREFIX: Final = "freshline/status/"
"""Before the name of the location, in the keys of Dagster's store of keys and values."""

_TRUSTED: Final = 1.5 * HEARTBEAT
"""Seconds for which what was kept is trusted, if ticks are not longer: a sensor keeps it anew with
each plan, and at least once in a `HEARTBEAT`."""


class Kept(BaseModel):
    """What one location has kept. Times are epoch seconds, in JSON as well: that is read faster."""

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


def keep(instance: DagsterInstance, kept: Kept) -> None:
    """Keep that in the place of what the location has kept before.

    Raises what the storage raises.
    """
    text = json.dumps(kept.model_dump(), ensure_ascii=False, separators=(",", ":"))
    instance.daemon_cursor_storage.set_cursor_values({KEPT_PREFIX + kept.location.location: text})


def kept_in(texts: Iterable[str]) -> list[Kept]:
    """Return what the `texts` keep, without what another version of freshline has written."""
    found = []
    for text in texts:
        try:
            kept = Kept.model_validate_json(text)
        except ValidationError:
            continue  # `status_from` misses the location, and says that it cannot tell
        if kept.schema_version == SCHEMA_VERSION:
            found.append(kept)
    return found


def status_from(found: Sequence[Kept], daemon: Listener, now: float) -> Status | None:
    """Return the status at `now` (UTC, epoch seconds) as it was kept; None: it cannot be told.

    It can if every location has kept something lately, all know of the same locations, none is
    silent, and no target that was fresh has become late since.
    """
    recent = {it.location.location: it for it in found if now - it.at <= max(_TRUSTED, 2 * it.tick)}
    known = {it.published for it in recent.values()}
    if known != {tuple(sorted(recent))} or any(it.silent for it in recent.values()):
        return None
    newest = max(recent.values(), key=lambda it: it.at)
    targets = _targets(recent.values(), now)
    if any(target.status == "fresh" and (target.deadline or now) < now for target in targets):
        return None
    return Status(
        at=now,
        planned_at=min(it.at for it in recent.values()),
        plan=newest.plan,
        kept=not any(target.status in BROKEN for target in targets),
        daemon=daemon,
        locations=(
            *(recent[name].location for name in sorted(recent)),
            *(unreadable(name, why) for name, why in sorted(newest.problems.items())),
        ),
        targets=tuple(worst_first(targets)),
    )


def _targets(recent: Iterable[Kept], now: float) -> list[Target]:
    """Return all targets, with their lags at `now`."""
    return [
        target.model_copy(update={"lag_seconds": target.lag_seconds + now - it.at})
        if target.lag_seconds is not None
        else target
        for it in recent
        for target in it.targets
    ]
