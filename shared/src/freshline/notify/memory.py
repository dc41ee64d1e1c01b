"""What notifiers keep in the Dagster instance: what was told, and which of them does the telling.

It is in the table `kvs` of the run storage, in which Dagster's daemons keep their cursors. So it is
where all notifiers see it, and is backed up with the rest.

One notifier at a time holds the post. It says so every few seconds, by another number. The others
watch that number, each by its own clock: when it has stood still for long enough, one of them takes
the post. To write, a notifier changes its own number, which the database allows only to whoever has
read the last one. So no clocks are compared, and no two can write.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from dagster import DagsterInstance
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import KeyValueStoreTable
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from freshline.errors import InstanceError

__all__ = ["Memory"]

_HOLDER: Final = "freshline/notify/holder"
_CONTENT: Final = "freshline/notify/incidents"
_FREE: Final = ""
"""The holder, when the last one has ended in good order."""

_TAKE_OVER_AFTER: Final = 30.0
"""Seconds without a word from the holder after which another notifier takes the post."""


class Memory:
    """The part of one notifier. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._number = 0
        self._held: str | None = None
        """What this notifier has written last as the holder; None: it does not hold the post."""
        self._seen: tuple[str, float] | None = None
        """What another holder has written, and since when it stands."""

    def hold(self, instance: DagsterInstance, content: str | None = None) -> bool:
        """Return whether this notifier holds the post, and take it if it is free.

        `content` is kept if it does; None: what is there stays. Raises what the storage raises.
        """
        with _storage(instance).connect() as connection:
            last = self._held if self._held is not None else self._free_to_take(connection)
            if last is None:
                return False
            mine = f"{self._name} {self._number + 1}"
            if not _exchange(connection, _HOLDER, last, mine):
                self._held = None
                return False
            self._number, self._held, self._seen = self._number + 1, mine, None
            # Each statement may be a transaction of its own, so this one asks again whose post it
            # is.
            if content is not None and not _keep(connection, content, mine):
                self._held = None
        return self._held is not None

    def content(self, instance: DagsterInstance) -> str | None:
        """Return what is kept; None: nothing is."""
        return instance.run_storage.get_cursor_values({_CONTENT}).get(_CONTENT) or None

    def release(self, instance: DagsterInstance) -> None:
        """Let another notifier have the post at once, if this one holds it."""
        if self._held is None:
            return
        with _storage(instance).connect() as connection:
            _exchange(connection, _HOLDER, self._held, _FREE)
        self._held = None

    def _free_to_take(self, connection: Connection) -> str | None:
        """Return what the last holder has written if its post is free; None: it is not."""
        holder = _read(connection, _HOLDER)
        if holder is None:
            _make(connection, _CONTENT)
            _make(connection, _HOLDER)
            return _FREE
        if holder == _FREE:
            return holder
        if self._seen is None or self._seen[0] != holder:
            self._seen = holder, self._clock()
        return holder if self._clock() - self._seen[1] >= _TAKE_OVER_AFTER else None


def _storage(instance: DagsterInstance) -> SqlRunStorage:
    """Return the storage that has the table. Raises `InstanceError` if it is no SQL database."""
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise InstanceError(
            f"the instance keeps its runs in a {type(storage).__name__}, and notifiers keep what "
            "they have told in Postgres or SQLite."
        )
    return storage


def _read(connection: Connection, key: str) -> str | None:
    table = KeyValueStoreTable.c
    value: str | None = connection.execute(
        select(table.value).where(table.key == key)
    ).scalar_one_or_none()
    return value


def _make(connection: Connection, key: str) -> None:
    """Make a row with an empty value, unless it is there."""
    try:
        connection.execute(KeyValueStoreTable.insert().values(key=key, value=_FREE))
    except IntegrityError:
        return  # another notifier was quicker


def _exchange(connection: Connection, key: str, old: str, new: str) -> bool:
    """Write `new` in place of `old`. Return whether `old` stood there."""
    table = KeyValueStoreTable.c
    changed = connection.execute(
        KeyValueStoreTable.update().where(table.key == key, table.value == old).values(value=new)
    )
    return bool(changed.rowcount == 1)


def _keep(connection: Connection, content: str, holder: str) -> bool:
    """Write the content if `holder` still has the post. Return whether it has."""
    table = KeyValueStoreTable.c
    post = KeyValueStoreTable.alias().c
    held = select(post.id).where(post.key == _HOLDER, post.value == holder).exists()
    changed = connection.execute(
        KeyValueStoreTable.update().where(table.key == _CONTENT, held).values(value=content)
    )
    return bool(changed.rowcount == 1)
