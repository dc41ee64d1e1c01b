"""A lookout: a process that looks at the instance for as long as it runs.

What it sees is what a sensor sees at its tick. While the database is away it sees nothing, and says
so. When the database is back, it looks with new eyes: it may be another one, from a backup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeAlias

from dagster import DagsterError, DagsterInstance
from sqlalchemy.exc import SQLAlchemyError

from freshline.errors import InstanceError
from freshline.sensor.outlook import Observer, Outlook
from freshline.words import first_line

__all__ = ["Lookout"]

_OpenInstance: TypeAlias = Callable[[], AbstractContextManager[DagsterInstance]]


class Lookout:
    """Looks at the instance that `open_instance` opens; all looks share it."""

    def __init__(self, open_instance: _OpenInstance) -> None:
        self._open_instance = open_instance
        self._opened = ExitStack()
        self._instance: DagsterInstance | None = None
        self._observer = Observer()

    @contextmanager
    def asking(self) -> Iterator[DagsterInstance]:
        """Give the instance, for questions to its storage.

        Raises `InstanceError` if the storage does not answer; the next time, it is opened anew.
        """
        try:
            if self._instance is None:
                self._instance = self._opened.enter_context(self._open_instance())
            yield self._instance
        except InstanceError:
            self.close()
            raise
        except Exception as error:
            self.close()
            if not _is_of_storage(error):
                raise
            raise InstanceError(f"the instance does not answer: {first_line(error)}") from error

    def look(self, now: float) -> Outlook:
        """Return the outlook at `now` (UTC, epoch seconds). Raises `InstanceError` as `asking`."""
        with self.asking() as instance:
            return self._observer.look(instance, now)

    def close(self) -> None:
        """Forget what was seen, and let the instance go."""
        self._instance = None
        self._observer = Observer()
        self._opened.close()


def _is_of_storage(error: Exception) -> bool:
    """Return whether `error` says that the instance's storage does not answer as it should.

    The packages of storages, such as dagster-postgres, raise errors of their own.
    """
    known = isinstance(error, (SQLAlchemyError, DagsterError, OSError))
    return known or type(error).__module__.startswith("dagster_")
