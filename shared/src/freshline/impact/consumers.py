"""Finds the assets, in any location, that depend on an asset or on one of its columns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from freshline.contract.document import Contract, Export
from freshline.policy import MaxLag

__all__ = ["Consumer", "consumers"]


@dataclass(frozen=True)
class Consumer:
    """An asset that a change may reach."""

    key: str
    location: str
    owners: tuple[str, ...]
    policy: MaxLag | None
    how: str
    """How the change reaches it: "reads it", "may read it" (it declares no columns that it reads),
    "depends on it", or "through" another asset."""
    direct: bool


def consumers(contracts: Iterable[Contract], key: str, column: str | None = None) -> list[Consumer]:
    """Return all assets downstream of `key`: the nearest first, then by location and key.

    With `column`, only assets that read the column, assets that declare no columns that they read,
    and all assets downstream of these.
    """
    given = list(contracts)
    readers = _readers(given)
    found: dict[str, Consumer] = {}
    waiting = deque([key])
    while waiting:
        upstream = waiting.popleft()
        for contract, export in readers.get(upstream, ()):
            if export.key in found or export.key == key:
                continue
            how: str | None = f"through `{upstream}`"
            if upstream == key:
                how = _how(contract, export, key, column)
            if how is None:
                continue
            found[export.key] = Consumer(
                export.key,
                contract.location,
                export.owners,
                export.policy,
                how,
                direct=upstream == key,
            )
            waiting.append(export.key)
    return list(found.values())


def _readers(contracts: list[Contract]) -> Mapping[str, list[tuple[Contract, Export]]]:
    readers: dict[str, list[tuple[Contract, Export]]] = {}
    for contract in sorted(contracts, key=lambda contract: contract.location):
        for export in contract.exports:
            for dep in export.deps:
                readers.setdefault(dep, []).append((contract, export))
    return readers


def _how(contract: Contract, export: Export, key: str, column: str | None) -> str | None:
    """Return how a direct consumer uses the asset or column; None: it reads other columns."""
    if column is None:
        return "depends on it"
    read = {
        used.name.lower(): used.inferred
        for needed in contract.imports
        if needed.key == key
        for used in needed.columns
        if export.key in used.used_by
    }
    if column.lower() in read:
        return "reads it"
    # Its SQL may read others than those that were found in it.
    declared = not all(read.values())
    return None if declared else "may read it"
