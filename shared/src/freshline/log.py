"""The log: which runs were requested, for whom and why, and what became of each.

It is read from the runs of the shared instance: the sensors have written into their tags why they
requested them. A run that somebody else has started is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from freshline.history.events import FINISHED, RESULTS, EventLog
from freshline.history.runs import reason_of
from freshline.json_values import Time
from freshline.names import (
    DEADLINE_TAG,
    PARTITION,
    PARTITION_RANGE_END,
    PARTITION_RANGE_START,
    PLAN_TAG,
    SLACK_TAG,
    TARGET_TAG,
)

__all__ = ["SCHEMA_VERSION", "Follower", "Log", "Request", "json_schema", "read_log"]

SCHEMA_VERSION: Final = 1
"""Of the names below, which are an interface. A new field is no break."""

_PAGE: Final = 500
"""So many runs are read at once."""

_LATE: Final = 60.0
"""Seconds in which a run may appear that was created before others which have been seen."""

_RESULTS: Final = {
    **RESULTS,
    DagsterRunStatus.STARTING: "starting",
    DagsterRunStatus.STARTED: "running",
    DagsterRunStatus.CANCELING: "running",
}
"""In all other states, it is queued."""


class Request(BaseModel):
    """A run that a location's sensor has requested. Times are epoch seconds; ISO 8601 in JSON."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    requested_at: Time
    location: str | None = Field(description="Null: the run does not say.")
    assets: tuple[str, ...]
    checks: tuple[str, ...] = Field(description="The asset checks that run without their assets.")
    partition: str | None = Field(description="A key, or the first and the last with `...`.")
    target: str | None = Field(description="The most urgent target that needs it; null: none.")
    deadline: Time | None
    slack_seconds: float | None = Field(description="What was left then; negative: too late.")
    plan: str | None
    reason: str
    result: str = Field(description="queued, starting, running, succeeded, failed or canceled.")
    started_at: Time | None
    ended_at: Time | None
    error: str | None = Field(description="The first line of the error of a run that has failed.")


class Log(BaseModel):
    """What was requested since some time, the oldest first."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    since: Time
    at: Time
    requests: tuple[Request, ...]


def read_log(instance: DagsterInstance, since: float, now: float) -> Log:
    """Return what was requested between `since` and `now` (UTC, epoch seconds).

    Raises what the storage raises.
    """
    events = EventLog(instance)
    requests = tuple(_request(record, events) for record in _records(instance, since))
    return Log(since=since, at=now, requests=requests)


class Follower:
    """Follows what is requested since `since` (UTC, epoch seconds)."""

    def __init__(self, since: float) -> None:
        self._after = since
        self._open: set[str] = set()
        """The ids of the runs that are known and have not ended."""
        self._ended: dict[str, float] = {}
        """When each run was created that has ended and may be read again, by id."""

    def news(self, instance: DagsterInstance, now: float) -> list[Request]:
        """Return the runs that were requested, or have ended, since the last call; oldest first.

        Raises what the storage raises; the next call makes up for it.
        """
        events = EventLog(instance)
        read = [*events.run_records(self._open), *_records(instance, self._after)]
        records = {record.dagster_run.run_id: record for record in read}
        new = [
            record
            for run_id, record in records.items()
            if run_id not in self._ended
            and (run_id not in self._open or record.dagster_run.status in FINISHED)
        ]
        found = [_request(record, events) for record in sorted(new, key=_order)]
        # Only now: nothing is forgotten if the storage fails half-way.
        over = {run for run, it in records.items() if it.dagster_run.status in FINISHED}
        self._open = records.keys() - over
        self._ended |= {run: records[run].create_timestamp.timestamp() for run in over}
        self._after = max(self._after, now - _LATE)
        self._ended = {run: at for run, at in self._ended.items() if at >= self._after}
        return found


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of what `freshline log --json` prints, with and without `--follow`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "freshline log --json",
        **TypeAdapter(Log | Request).json_schema(mode="serialization"),
    }


def _records(instance: DagsterInstance, since: float) -> Iterator[RunRecord]:
    """Yield the records of the runs that freshline has requested since then, the oldest first."""
    wanted = RunsFilter(created_after=datetime.fromtimestamp(since, UTC))
    cursor: str | None = None
    while True:
        page = instance.get_run_records(wanted, limit=_PAGE, cursor=cursor, ascending=True)
        yield from (record for record in page if reason_of(record.dagster_run.tags))
        if len(page) < _PAGE:
            return
        cursor = page[-1].dagster_run.run_id


def _order(record: RunRecord) -> int:
    return record.storage_id


def _request(record: RunRecord, events: EventLog) -> Request:
    run, tags = record.dagster_run, record.dagster_run.tags
    assets = tuple(sorted(key.to_user_string() for key in run.asset_selection or ()))
    checks = sorted(run.asset_check_selection or (), key=lambda key: key.to_user_string())
    origin = run.remote_job_origin
    result = _RESULTS.get(run.status, "queued")
    return Request(
        run_id=run.run_id,
        requested_at=record.create_timestamp.timestamp(),
        location=origin.location_name if origin else None,
        assets=assets,
        checks=tuple(
            key.to_user_string() for key in checks if key.asset_key.to_user_string() not in assets
        ),
        partition=_partition(tags),
        target=tags.get(TARGET_TAG),
        deadline=_time(tags.get(DEADLINE_TAG)),
        slack_seconds=_number(tags.get(SLACK_TAG)),
        plan=tags.get(PLAN_TAG),
        reason=reason_of(tags) or "",
        result=result,
        started_at=record.start_time,
        # A run that was canceled in the queue has no end in its record.
        ended_at=(record.end_time or record.update_timestamp.timestamp())
        if run.status in FINISHED
        else None,
        error=_error(run.run_id, events) if result == "failed" else None,
    )


def _partition(tags: Mapping[str, str]) -> str | None:
    if PARTITION_RANGE_START in tags:
        return f"{tags[PARTITION_RANGE_START]}...{tags.get(PARTITION_RANGE_END, '')}"
    return tags.get(PARTITION)


def _error(run_id: str, events: EventLog) -> str | None:
    """Return the error of the first step that has failed, or else that of the run."""
    found = events.run_events(run_id)
    return next((step.error for step in found.steps.values() if step.error), found.error)


def _time(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None  # somebody has written the tag by hand


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
