"""Pauses: what somebody has ordered not to be kept fresh, why, and until when.

A pause is a materialization of an asset of its own, so it is in the shared instance: it survives
restarts, every location sees it, and Dagster's UI shows who was paused when. Another one ends it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from freshline.model import Pause
from freshline.names import PAUSE_PREFIX, PAUSE_REASON, PAUSED_UNTIL

if TYPE_CHECKING:
    from dagster import AssetKey, AssetMaterialization, DagsterInstance

    from freshline.history.events import Happened

__all__ = ["pause_event", "read_pauses", "resumption", "tells_of_pause"]


def pause_event(name: str, pause: Pause) -> AssetMaterialization:
    """Return the event that pauses the location or target `name`."""
    from dagster import AssetMaterialization, MetadataValue

    until = datetime.fromtimestamp(pause.until, UTC)
    return AssetMaterialization(
        _pause_key(name),
        description=f"{name} is paused until {until:%Y-%m-%d %H:%M} UTC: {pause.reason}",
        metadata={PAUSED_UNTIL: MetadataValue.timestamp(until), PAUSE_REASON: pause.reason},
    )


def resumption(name: str) -> AssetMaterialization:
    """Return the event that ends the pause of `name` before its time."""
    from dagster import AssetMaterialization

    return AssetMaterialization(_pause_key(name), description=f"{name} is not paused any more.")


def read_pauses(instance: DagsterInstance, now: float) -> dict[str, Pause]:
    """Return the pauses in force at `now` (UTC, epoch seconds), by location or target."""
    from freshline.history.materialized import metadata_of

    keys = instance.get_asset_keys(prefix=list(PAUSE_PREFIX))
    pauses: dict[str, Pause] = {}
    for record in instance.get_asset_records(list(keys)) if keys else ():
        event = record.asset_entry.last_materialization_record
        metadata = metadata_of(event.event_log_entry) if event else {}
        until = metadata.get(PAUSED_UNTIL)
        if until is not None and now < until:
            name = "/".join(record.asset_entry.asset_key.path[len(PAUSE_PREFIX) :])
            pauses[name] = Pause(until, str(metadata.get(PAUSE_REASON, "")))
    return pauses


def tells_of_pause(event: Happened) -> bool:
    """Return whether a pause may have begun or ended with `event`."""
    return event.key is not None and tuple(event.key.path[: len(PAUSE_PREFIX)]) == PAUSE_PREFIX


def _pause_key(name: str) -> AssetKey:
    from dagster import AssetKey

    return AssetKey([*PAUSE_PREFIX, *name.split("/")])
