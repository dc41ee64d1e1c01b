"""An asset as a location declares it: what all parts of the description of a location work on.

Like `describe`, the gate runs this file inside every location's own environment. It imports nothing
but the standard library, `freshline.names` and `freshline.declared`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from freshline.declared import Written, unwrapped
from freshline.names import COLUMN_SCHEMA


class Node(NamedTuple):
    """An asset as a location declares it."""

    path: tuple[str, ...]
    made: bool
    """True: the location makes the asset. False: it has an external definition of the asset."""
    deps: tuple[str, ...] = ()
    execution_set: str = ""
    """Assets with the same name here are always made together; "": the asset has no such set."""
    group: str | None = None
    owners: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    partitions: Any = None
    """Dagster's definition of its partitions; None: it has none."""
    mappings: Mapping[str, Any] = {}
    """Dagster's mappings from its partitions to those of its inputs, by key, where one is given."""
    single_run: bool = False
    """Whether one run can make a range of its partitions."""
    pools: tuple[str, ...] = ()
    """The pools that its ops need a place in."""
    observed: bool = False
    """Whether the location can observe the asset, which it does not make."""
    virtual: bool = False
    """Whether Dagster is told that the asset is a view."""
    code_version: str | None = None
    unlaunchable: str | None = None
    """Why Dagster cannot launch it as it is; None: it can, or that is not known."""
    description: str | None = None
    file: str | None = None
    metadata: Mapping[str, Any] = {}
    folder: str | None = None
    """The location's folder, to which files are relative; None: not known."""
    policies: tuple[Written, ...] = ()
    native_policy: bool = False
    """Whether Dagster itself watches the asset's freshness."""

    @property
    def key(self) -> str:
        return "/".join(self.path)


def columns_of(node: Node) -> list[dict[str, Any]] | None:
    """Return the columns in the order of the table; None: the asset declares no columns."""
    schema = unwrapped(node.metadata.get(COLUMN_SCHEMA))
    if schema is None:
        return None
    return [
        {
            "name": column.name,
            "type": column.type,
            "nullable": column.constraints.nullable,
            "description": column.description,
        }
        for column in schema.columns
    ]


@lru_cache(maxsize=1024)
def inside(folder: str, path: str | Path) -> str | None:
    """Return the path relative to `folder`; None: it is not inside."""
    relative = Path(os.path.relpath(os.path.realpath(path), os.path.realpath(folder)))
    # Installed code has another path on each machine.
    own = os.pardir not in relative.parts and "site-packages" not in relative.parts
    return relative.as_posix() if own else None
