"""Lets Dagster's daemon retry a run whose code server is away when the run has failed.

By itself, the daemon tries that once, in the seconds after the failure. The fault that ended the
run has often ended the code server too, or a deploy is replacing it: the run would be lost.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import dagster as dg
from dagster._core.errors import (
    DagsterCodeLocationLoadError,
    DagsterCodeLocationNotFoundError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.auto_run_reexecution import auto_run_reexecution as daemon
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon

__all__ = ["WaitingRetries", "keep_retrying"]

_Context = IWorkspaceProcessContext[Any]

_WAITS_FOR: Final = 3600.0
"""Seconds that a retry waits for its code server. Who needs the assets has asked anew by then."""

_AWAY: Final = (
    DagsterCodeLocationLoadError,
    DagsterCodeLocationNotFoundError,
    DagsterUserCodeUnreachableError,
)

_logger = logging.getLogger(__name__)


def keep_retrying() -> None:
    """Have this process's daemon wait with retries from now on. Call it once, before it begins."""
    try:
        waiting = WaitingRetries(daemon.retry_run)
        usual_round = EventLogConsumerDaemon.run_iteration
    except AttributeError:
        _logger.warning("This daemon's Dagster is another one: it tries each retry once")
        return

    def run_iteration(self: Any, context: _Context) -> Iterator[Any]:
        yield from waiting.retry_again(context)
        yield from usual_round(self, context)

    # Functions of the daemon are replaced, which types do not foresee.
    daemon.retry_run = waiting.retry  # type: ignore[assignment]
    EventLogConsumerDaemon.run_iteration = run_iteration  # type: ignore[method-assign,assignment]


class WaitingRetries:
    """The failed runs whose retries wait. The event log says which, also to the next daemon."""

    def __init__(self, retry: Callable[[dg.DagsterRun, _Context], None]) -> None:
        self._retry = retry
        self._since: dict[str, float] | None = None
        """Since when each waits (monotonic seconds), by run id; None: not known yet."""

    def retry(self, failed_run: dg.DagsterRun, context: _Context) -> None:
        """Retry `failed_run` now, or when its code server is back.

        Raises what Dagster's own function raises if that is of no use: the location is no part of
        the workspace any more, or has been away for `_WAITS_FOR` seconds. Dagster writes it down
        then, and does not try again.
        """
        waiting, run_id = self._waiting(context.instance), failed_run.run_id
        try:
            self._retry(failed_run, context)
        except _AWAY as error:
            now = time.monotonic()
            waited = now - waiting.get(run_id, now)
            if waited > _WAITS_FOR or not _is_in_workspace(failed_run, context):
                waiting.pop(run_id, None)
                raise
            if run_id not in waiting:
                waiting[run_id] = now
                text = f"Will be retried when its code location is back: {_first_line(error)}"
                context.instance.report_engine_event(text, failed_run, cls=WaitingRetries)
        except BaseException:
            waiting.pop(run_id, None)
            raise
        else:
            waiting.pop(run_id, None)

    def retry_again(self, context: _Context) -> Iterator[None]:
        """Try those that wait, as Dagster tries those that have just failed."""
        waiting = self._waiting(context.instance)
        if waiting:
            records = context.instance.get_run_records(dg.RunsFilter(run_ids=list(waiting)))
            there = {record.dagster_run.run_id for record in records}
            for deleted in waiting.keys() - there:
                del waiting[deleted]
            yield from daemon.consume_new_runs_for_automatic_reexecution(context, records, _logger)

    def _waiting(self, instance: dg.DagsterInstance) -> dict[str, float]:
        if self._since is None:
            # Those that an earlier daemon has left. One that has a retry is not retried again.
            lately = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=_WAITS_FOR)
            failed = dg.RunsFilter(
                statuses=[dg.DagsterRunStatus.FAILURE],
                tags={WILL_RETRY_TAG: "true"},
                updated_after=lately,
            )
            now = time.monotonic()
            self._since = {run.run_id: now for run in instance.get_runs(failed)}
        return self._since


def _is_in_workspace(run: dg.DagsterRun, context: _Context) -> bool:
    origin = run.remote_job_origin
    names = context.create_request_context().code_location_names
    return origin is not None and origin.location_name in names


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
