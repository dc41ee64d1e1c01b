"""What the sensors have written, read without Dagster and SQLAlchemy: their imports take longest.

It is read from where Dagster keeps its store of keys and values, if that is SQLite or Postgres. For
any other storage, and whenever something is unusual, `quick_status` returns None.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from freshline.status.document import DAEMON, Listener, Status
from freshline.status.rows import ROW_PREFIX, rows_in, status_from

__all__ = ["quick_status"]

_ELSEWHERE: Final = ("run_storage", "instance_class")
"""Settings of dagster.yaml that put the store somewhere else."""

# Without parameters, which SQLite and Postgres mark in different ways.
_ROWS: Final = (
    "SELECT value FROM kvs "  # noqa: S608 - what is put in is a constant of ours
    f"WHERE key LIKE '{ROW_PREFIX}%'"
)
_HEARTBEAT: Final = (
    "SELECT timestamp FROM daemon_heartbeats "  # noqa: S608 - as above
    f"WHERE daemon_type = '{DAEMON}'"
)

_SCHEME: Final = "postgresql"
_DRIVER: Final = "psycopg2"


def quick_status(home: Path) -> Status | None:
    """Return the status that the sensors have written into the instance of the folder `home`.

    None: it cannot be told without more. Nothing is made that is not there.
    """
    try:
        texts, heard = _read(home)
    except _UnusualError:
        return None  # whoever works it out anew says what is wrong
    now = time.time()
    return status_from(rows_in(texts), Listener.heard(heard, now), now)


class _UnusualError(Exception):
    """It cannot be read from here."""


def _read(home: Path) -> tuple[list[str], float | None]:
    """Return the rows, and when the daemon was heard of last (UTC, epoch seconds).

    Raises `_UnusualError`.
    """
    try:
        settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
        kind, config = _storage(home, settings)
        if kind == "sqlite":
            return _read_sqlite(config)
        if kind == "postgres":
            return _read_postgres(config)
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise _UnusualError from error
    raise _UnusualError


def _storage(home: Path, settings: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    if any(name in settings for name in _ELSEWHERE):
        raise _UnusualError
    storage = settings.get("storage") or {"sqlite": {"base_dir": str(home)}}
    (kind, config), *others = storage.items()
    if others:
        raise _UnusualError
    return kind, config


def _read_sqlite(config: Mapping[str, Any]) -> tuple[list[str], float | None]:
    file = Path(_text(config["base_dir"])) / "history" / "runs.db"
    if not file.exists():
        raise _UnusualError
    try:
        with closing(sqlite3.connect(file)) as connection:
            return _ask(connection)
    except sqlite3.Error as error:
        raise _UnusualError from error


def _read_postgres(config: Mapping[str, Any]) -> tuple[list[str], float | None]:
    try:
        import psycopg2  # type: ignore[import-untyped]  # its stubs are a package of their own
    except ImportError as error:
        raise _UnusualError from error
    try:
        with closing(psycopg2.connect(**_parameters(config))) as connection:
            return _ask(connection)
    except psycopg2.Error as error:
        raise _UnusualError from error


def _ask(connection: Any) -> tuple[list[str], float | None]:
    """Return what `_read` does, asked over a `connection` as Python's DB-API 2.0 has it."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(_ROWS)
        texts = [text for (text,) in cursor.fetchall()]
        cursor.execute(_HEARTBEAT)
        heard = cursor.fetchone()
    return texts, _epoch(*heard) if heard else None


def _epoch(heard: datetime | str) -> float:
    """Return a time as Dagster keeps it, in UTC without saying so; in SQLite it is a text."""
    found = datetime.fromisoformat(heard) if isinstance(heard, str) else heard
    return found.replace(tzinfo=UTC).timestamp()


def _parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what psycopg2 needs to connect to the server of dagster.yaml."""
    if "postgres_url" in config:
        scheme, _, rest = _text(config["postgres_url"]).partition("://")
        return {"dsn": f"{_plain(scheme)}://{rest}"}
    server = config["postgres_db"]
    _plain(_text(server.get("scheme", _SCHEME)))
    return {
        "user": _text(server["username"]),
        "password": _text(server.get("password", "")) or None,
        "host": _text(server["hostname"]),
        "port": _text(server.get("port", "5432")),
        "dbname": _text(server["db_name"]),
        **{name: _text(value) for name, value in server.get("params", {}).items()},
    }


def _plain(scheme: str) -> str:
    """Return the `scheme` of a URL as libpq knows it: without the driver that SQLAlchemy is to use.

    Raises `_UnusualError`.
    """
    if scheme not in (_SCHEME, f"{_SCHEME}+{_DRIVER}"):
        raise _UnusualError
    return _SCHEME


def _text(setting: Any) -> str:
    """Return a setting of dagster.yaml. Raises `KeyError` if its variable is not set."""
    return os.environ[setting["env"]] if isinstance(setting, dict) else str(setting)
