"""Materializations and observations as Dagster's event log has them.

Every point in time is UTC in epoch seconds; an asset is named by its user string.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dagster import AssetMaterialization, AssetObservation, DagsterEventType, EventLogEntry

from freshline.names import (
    CODE_VERSION_TAG,
    DATA_TIME,
    DATA_VERSION,
    DATA_VERSION_SET,
    INPUT_POINTER,
    LAST_UPDATED,
)

if TYPE_CHECKING:
    from dagster import EventLogRecord

__all__ = [
    "MADE",
    "OBSERVED",
    "Materialized",
    "as_materialized",
    "materialized_in",
    "materialized_of",
    "metadata_of",
    "stated_data_time",
]

MADE: Final = DagsterEventType.ASSET_MATERIALIZATION
OBSERVED: Final = DagsterEventType.ASSET_OBSERVATION


@dataclass(frozen=True, slots=True)
class Materialized:
    """One materialization or observation, as it was written. Nothing about it ever changes."""

    id: int
    key: str
    at: float
    run_id: str
    """"" for one that was reported outside a run."""
    step: str
    data_time: float | None
    """What its own metadata states; None: nothing."""
    consumed: tuple[tuple[str, int | None], ...]
    """The id of the version that was read of each input; None: the input had no version. Of an
    input with partitions: the id of its newest version of any partition, which says up to where in
    the log its versions were there to be read."""
    partition: str | None = None
    """The key of its partition; None: it has none."""
    data_version: str | None = None
    """The data version that a step or an observation has set; None: none was set."""
    code_version: str | None = None
    observed: bool = False
    """Whether it was observed, not made."""
    last_updated: float | None = None
    """When what it is about was last updated, as Dagster's own metadata says; None: it does not."""


def materialized_in(records: Iterable[EventLogRecord]) -> Iterator[Materialized]:
    """Yield the materializations and observations in `records`."""
    return (made for record in records if (made := as_materialized(record)))


def as_materialized(record: EventLogRecord) -> Materialized | None:
    """Return the materialization or observation that `record` is; None: it is neither."""
    return materialized_of(record.storage_id, record.event_log_entry)


def materialized_of(id_: int, entry: EventLogEntry) -> Materialized | None:
    """Return the materialization or observation that the event `id_` is; None: it is neither."""
    event = entry.dagster_event
    if event is None or event.event_type not in (MADE, OBSERVED):
        return None
    observed = event.event_type is OBSERVED
    about: AssetMaterialization | AssetObservation = (
        event.asset_observation_data.asset_observation
        if observed
        else event.step_materialization_data.materialization
    )
    tags = about.tags or {}
    return Materialized(
        id=id_,
        key=about.asset_key.to_user_string(),
        at=entry.timestamp,
        run_id=entry.run_id,
        step=entry.step_key or "",
        data_time=stated_data_time(about.metadata),
        consumed=() if observed else tuple(_consumed(tags)),
        partition=about.partition,
        data_version=_set_data_version(tags, by_default=bool(entry.run_id) and not observed),
        code_version=tags.get(CODE_VERSION_TAG),
        observed=observed,
        last_updated=_time_in(about.metadata, LAST_UPDATED),
    )


def _set_data_version(tags: Mapping[str, str], *, by_default: bool) -> str | None:
    """Return the data version that somebody has set; None: nobody has.

    Dagster gives one `by_default` to what a step materializes, and to nothing else.
    """
    if by_default and tags.get(DATA_VERSION_SET) != "true":
        return None
    return tags.get(DATA_VERSION)


def _consumed(tags: Mapping[str, str]) -> Iterator[tuple[str, int | None]]:
    for tag, pointer in tags.items():
        if tag.startswith(INPUT_POINTER):
            yield tag[len(INPUT_POINTER) :], int(pointer) if pointer.isdecimal() else None


def metadata_of(entry: EventLogEntry | None) -> dict[str, Any]:
    """Return the values of a materialization's metadata, by name."""
    made = entry.asset_materialization if entry else None
    return {name: value.value for name, value in made.metadata.items()} if made else {}


def stated_data_time(metadata: Mapping[str, Any]) -> float | None:
    """Return the data time that metadata states, in epoch seconds; None: it states none.

    It may be a timestamp, a number, or ISO 8601 text with a time zone.
    """
    return _time_in(metadata, DATA_TIME)


def _time_in(metadata: Mapping[str, Any], name: str) -> float | None:
    value = getattr(metadata.get(name), "value", metadata.get(name))
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            return None
        return time.timestamp() if time.tzinfo else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return None
