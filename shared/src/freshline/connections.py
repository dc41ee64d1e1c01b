"""Asking Dagster's database often: connections stay open, and its tables are looked up once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import dagster as dg
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

__all__ = ["keep_connections", "kept_connections"]

_RECYCLED_AFTER: Final = 600
"""Seconds after which a connection is replaced by a new one."""
_NO_LIMIT: Final = -1

_LOOKUPS: Final = (
    "has_backfill_id_column",
    "has_backfill_tags_table",
    "has_bulk_action_job_name_column",
    "has_bulk_actions_selector_cols",
    "has_run_stats_index_cols",
    "has_table",
    "_has_asset_key_col_on_connection",
    "_has_instigators_table",
    "_has_asset_daemon_asset_evaluations_table",
    "has_secondary_index_table",
    "has_built_index",
)
"""Methods of Dagster's storages that look up whether there is a table, a column or an index."""


@contextmanager
def kept_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let `instance` keep its connections as long as the context is open.

    The next such context costs less: the instance still knows all but the connections.
    """
    engines = keep_connections(instance)
    try:
        yield
    finally:
        for engine in engines:
            engine.dispose()


def keep_connections(instance: dg.DagsterInstance) -> list[Engine]:
    """Let `instance` keep its connections, as that of a webserver does. Return who has them.

    By itself, dagster-postgres connects anew for each statement: that costs more than the
    statement, and a run has a hundred of them. Unlike in a webserver, a connection that the
    database has closed meanwhile is replaced before it is used.
    """
    engines = _keepers(instance)
    if not any(event.contains(engine, "checkout", _check) for engine in engines):
        instance.optimize_for_webserver(
            statement_timeout=0, pool_recycle=_RECYCLED_AFTER, max_overflow=_NO_LIMIT
        )
        engines = _keepers(instance)
        for engine in engines:
            event.listen(engine, "checkout", _check)
        if engines:
            for storage in _storages(instance):
                _remember_lookups(storage)
    return engines


def _storages(instance: dg.DagsterInstance) -> tuple[object, ...]:
    return instance.run_storage, instance.event_log_storage, instance.schedule_storage


def _keepers(instance: dg.DagsterInstance) -> list[Engine]:
    """Return what has the connections of the instance's storages, if it keeps them."""
    engines = [getattr(storage, "_engine", None) for storage in _storages(instance)]
    return [it for it in engines if isinstance(it, Engine) and isinstance(it.pool, QueuePool)]


def _remember_lookups(storage: object) -> None:
    """Let a storage look up only once which tables, columns and indexes there are.

    By itself, it does so before nearly each question, which costs more than the question. What is
    there stays; what is not there yet is looked up again.
    """
    for name in _LOOKUPS:
        looks_up = getattr(storage, name, None)
        if looks_up is not None:
            setattr(storage, name, _remembering(looks_up))


def _remembering(looks_up: Callable[..., bool]) -> Callable[..., bool]:
    """Return a function that asks `looks_up` until the answer is yes, for each name apart."""
    there = set()

    def is_there(*arguments: object) -> bool:
        names = tuple(it for it in arguments if isinstance(it, str))  # the other is a connection
        if names not in there and looks_up(*arguments):
            there.add(names)
        return names in there

    return is_there


def _check(connection: Any, *_: object) -> None:
    """Refuse a connection that is closed; SQLAlchemy makes another one then."""
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("select 1")
    except Exception as error:
        raise DisconnectionError from error
