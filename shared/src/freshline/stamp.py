"""Stamps: the data time that a materialization carries, so that Dagster's plots show lag."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from dagster import MetadataValue

from freshline.events import DATA_TIME

__all__ = ["data_time_metadata"]


def data_time_metadata(started: datetime) -> dict[str, Any]:
    """Metadata for a root's materialization: its sync began to read at `started`.

    Every source row that existed then is reflected in the version. Take the time before the
    sync is asked for, never after. Raises `ValueError` for a time without a zone.
    """
    if started.tzinfo is None:
        raise ValueError(f"{started} has no time zone: take datetime.now(timezone.utc)")
    return {DATA_TIME: MetadataValue.timestamp(started.astimezone(timezone.utc))}
