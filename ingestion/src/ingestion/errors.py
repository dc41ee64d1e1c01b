"""The errors that are written for people: what is wrong and what to do, in one line.

::

    IngestionError
    ├── SettingsError     a variable of the environment is missing or wrong
    ├── DeclarationError  a declaration in connections.py is refused
    ├── PlanError         Airbyte cannot be changed into what is declared
    ├── AirbyteError      Airbyte did not answer, or refused
    ├── WarehouseError    the warehouse cannot be reached
    ├── SyncError         a sync did not succeed
    └── ViewError         a view in the warehouse cannot be made or changed

The command line prints any of them and ends with status 2; a run fails with it. Every other
exception is a bug, and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "AirbyteError",
    "DeclarationError",
    "IngestionError",
    "PlanError",
    "SettingsError",
    "SyncError",
    "ViewError",
    "WarehouseError",
]


class IngestionError(Exception):
    """The root of all errors of this package; the message is for people."""


class SettingsError(IngestionError):
    """A setting is missing or wrong; the message names the variable and what to do."""


class DeclarationError(IngestionError):
    """A declaration is refused; the message names the connection and the field."""


class PlanError(IngestionError):
    """Airbyte cannot be changed into what is declared; the message says why."""


class AirbyteError(IngestionError):
    """Airbyte did not answer, or refused the request.

    `status` is the HTTP status, None if there was no answer. `reason` is Airbyte's own text, "" if
    it gave none. `ambiguous` is true if the request may have been carried out although it failed.
    """

    def __init__(
        self, message: str, *, status: int | None = None, reason: str = "", ambiguous: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.ambiguous = ambiguous


class WarehouseError(IngestionError):
    """The warehouse cannot be reached; the message says which settings to check."""


class SyncError(IngestionError):
    """A sync did not succeed, or could not be followed to its end."""


class ViewError(IngestionError):
    """A view cannot be made or changed; the message says what is in the way."""
