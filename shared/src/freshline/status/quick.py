"""What the sensors have written, read without Dagster, whose import takes longer than all else.

It is read from where Dagster keeps its store of keys and values, if that is SQLite or Postgres. For
any other storage, and whenever something is unusual, `quick_status` returns None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy import (
    TIMESTAMP,
    ColumnClause,
    Engine,
    Select,
    column,
    create_engine,
    select,
    table,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from freshline.status.document import DAEMON, Listener, Status
from freshline.status.rows import ROW_PREFIX, rows_in, status_from

__all__ = ["quick_status"]

_ELSEWHERE: Final = ("run_storage", "instance_class")
"""Settings of dagster.yaml that put the store somewhere else."""

_key: Final[ColumnClause[str]] = column("key")
_value: Final[ColumnClause[str]] = column("value")
_ROWS: Final[Select[Any]] = select(_value).select_from(table("kvs", _key, _value))
_type: Final[ColumnClause[str]] = column("daemon_type")
_timestamp: Final = column("timestamp", TIMESTAMP())
_HEARTBEAT: Final[Select[Any]] = select(_timestamp).select_from(
    table("daemon_heartbeats", _type, _timestamp)
)


def quick_status(home: Path) -> Status | None:
    """Return the status that the sensors have written into the instance of the folder `home`.

    None: it cannot be told without more. Nothing is made that is not there.
    """
    engine = _engine(home)
    if engine is None:
        return None
    try:
        with engine.connect() as connection:
            texts = connection.scalars(_ROWS.where(_key.startswith(ROW_PREFIX))).all()
            heard = connection.scalar(_HEARTBEAT.where(_type == DAEMON))
    except SQLAlchemyError:
        return None  # whoever works it out anew says what is wrong
    now = time.time()
    at = heard.replace(tzinfo=UTC).timestamp() if heard else None
    return status_from(rows_in(texts), Listener.heard(at, now), now)


def _engine(home: Path) -> Engine | None:
    try:
        settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
        url = _url(home, settings)
        return create_engine(url, poolclass=NullPool) if url else None
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError):
        return None
    except (SQLAlchemyError, ImportError):
        return None  # a driver that is not installed


def _url(home: Path, settings: Mapping[str, Any]) -> URL | None:
    if any(name in settings for name in _ELSEWHERE):
        return None
    storage = settings.get("storage") or {"sqlite": {"base_dir": str(home)}}
    (kind, config), *others = storage.items()
    if others or kind not in ("postgres", "sqlite"):
        return None
    if kind == "sqlite":
        file = Path(_text(config["base_dir"])) / "history" / "runs.db"
        return URL.create("sqlite", database=str(file)) if file.exists() else None
    if "postgres_url" in config:
        return make_url(_text(config["postgres_url"]))
    server = config["postgres_db"]
    return URL.create(
        _text(server.get("scheme", "postgresql")),
        username=_text(server["username"]),
        password=_text(server.get("password", "")) or None,
        host=_text(server["hostname"]),
        port=int(_text(server.get("port", "5432"))),
        database=_text(server["db_name"]),
        query={name: _text(value) for name, value in server.get("params", {}).items()},
    )


def _text(setting: Any) -> str:
    """Return a setting of dagster.yaml. Raises `KeyError` if its variable is not set."""
    return os.environ[setting["env"]] if isinstance(setting, dict) else str(setting)
