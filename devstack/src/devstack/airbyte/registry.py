# ruff: noqa: N815, A002 - the names are Airbyte's
"""The connectors of this server, and what is known of each without running it.

To run a connector for its specification or catalog takes seconds of CPU, so both are files, written
once by `python -m devstack.airbyte.describe`.
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from devstack.errors import DevstackError

# The package lies in devstack/src/devstack/airbyte; the connectors in devstack/connectors.
CONNECTORS = Path(__file__).resolve().parents[3] / "connectors"
_BUILT_IN = Path(__file__).with_name("connectors.json")
Kind = Literal["source", "destination"]


class Connector(BaseModel):
    """One source or destination that connections can use.

    `type` is what a configuration has as `sourceType` or `destinationType`.
    A source's `command` speaks the Airbyte protocol; the destination is built in and has none.
    The files `spec` and `catalog` describe the connector `dockerRepository` in the version
    `dockerImageTag`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    kind: Kind
    type: str
    name: str
    definitionId: UUID
    dockerRepository: str
    dockerImageTag: str
    command: list[str] = []
    spec: Path
    catalog: Path | None = None
    folder: Path = CONNECTORS

    @cached_property
    def specification(self) -> dict[str, Any]:
        """The JSON schema of its configuration."""
        document: dict[str, Any] = json.loads((self.folder / self.spec).read_text())
        schema: dict[str, Any] = document.get("connectionSpecification", {})
        return schema

    @cached_property
    def streams(self) -> dict[str, dict[str, Any]]:
        """The streams of the source by name, in the form of Airbyte's protocol."""
        if self.catalog is None:
            return {}
        document = json.loads((self.folder / self.catalog).read_text())
        return {stream["name"]: stream for stream in document["streams"]}

    def command_line(self) -> list[str]:
        """Return the command that starts it; a relative program is in `folder`.

        The environment variable `DEVSTACK_CONNECTOR_<TYPE>` names another program.
        """
        program, *rest = self.command
        override = os.environ.get(f"DEVSTACK_CONNECTOR_{self.type.upper().replace('-', '_')}")
        return [override or str(self.folder / program), *rest]


class Registry:
    """All connectors, found by kind and type or by definition id."""

    def __init__(self, connectors: list[Connector]) -> None:
        self._by_type = {(one.kind, one.type): one for one in connectors}
        self._by_id = {(one.kind, one.definitionId): one for one in connectors}

    def of_kind(self, kind: Kind) -> list[Connector]:
        return [one for one in self._by_type.values() if one.kind == kind]

    def find(
        self, kind: Kind, *, type: str | None = None, id: UUID | None = None
    ) -> Connector | None:
        """Return the connector of this type or, if none is given, of this definition id."""
        if type is not None:
            return self._by_type.get((kind, type))
        return self._by_id.get((kind, id)) if id is not None else None


def load_registry(extra: Path | None = None) -> Registry:
    """Return the built-in connectors and those of another file like `connectors.json`.

    Raises `DevstackError` when a file cannot be read or is not a list of connectors.
    """
    connectors = _read(_BUILT_IN, CONNECTORS)
    if extra is not None:
        connectors += _read(extra, extra.resolve().parent)
    return Registry(connectors)


def _read(file: Path, folder: Path) -> list[Connector]:
    try:
        return [
            Connector.model_validate({"folder": folder, **entry})
            for entry in json.loads(file.read_text())
        ]
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise DevstackError(f"{file} is no list of connectors: {error}") from error
