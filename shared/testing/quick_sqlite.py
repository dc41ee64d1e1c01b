"""A pytest plugin: Dagster's instances on SQLite answer in half the time.

Dagster makes a SQLAlchemy engine for each question to SQLite, which compiles each statement anew,
and loads all of Alembic's migrations for each database. Here both are kept. What is asked and
answered stays the same, and no connection is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, create_engine, event

_MODULES: Final = (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage)


@pytest.fixture(scope="session", autouse=True)
def _quick_sqlite() -> Iterator[None]:
    directory_of = ScriptDirectory.from_config

    engines: dict[str, Engine] = {}

    def kept_engine(url: str, **options: Any) -> Engine:
        if url not in engines:
            engines[url] = create_engine(url, **options)
            event.listen(engines[url], "connect", _leave_out_syncs)
        return engines[url]

    @functools.cache
    def kept_directory(config: Config) -> ScriptDirectory:
        return directory_of(config)

    with pytest.MonkeyPatch.context() as patch:
        for module in _MODULES:
            patch.setattr(module, "create_engine", kept_engine)
        patch.setattr(ScriptDirectory, "from_config", kept_directory)
        yield


def _leave_out_syncs(connection: Any, _record: object) -> None:
    """Do not wait for the disk: no test cuts the power."""
    connection.execute("PRAGMA synchronous=OFF")
