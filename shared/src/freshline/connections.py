"""Connections to Dagster's database that stay open."""

from __future__ import annotations

from collections.abc import Iterator
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


@contextmanager
def kept_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let `instance` keep its connections as long as the context is open."""
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
    engines = []
    instance.optimize_for_webserver(
        statement_timeout=0, pool_recycle=_RECYCLED_AFTER, max_overflow=_NO_LIMIT
    )
    for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
        engine = getattr(storage, "_engine", None)
        if isinstance(engine, Engine) and isinstance(engine.pool, QueuePool):
            event.listen(engine, "checkout", _check)
            engines.append(engine)
    return engines


def _check(connection: Any, *_: object) -> None:
    """Refuse a connection that is closed; SQLAlchemy makes another one then."""
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("select 1")
    except Exception as error:
        raise DisconnectionError from error
