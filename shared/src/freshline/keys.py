"""The key convention: the key of an asset says where its table is, ``[layer, table]``.

Producers (an Airbyte stream, a dbt model) and consumers (a dbt source, a Python asset) make the
key with `asset_key` from what they declare anyway, so nobody copies keys by hand. The layer is the
logical schema: the same in development, CI and production.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from freshline.errors import KeyConventionError

if TYPE_CHECKING:
    from dagster import AssetKey

__all__ = ["asset_key", "conventional_name", "key_problem"]

_NAME: Final = re.compile(r"[a-z0-9_]+")


def asset_key(layer: str, table: str, *, where: str = "") -> AssetKey:
    """Return the key of the table `table` in the logical schema `layer`.

    Raises `KeyConventionError` for a name outside the convention. `where` names what declares the
    asset and in which file, for the message.
    """
    for part, name in (("layer", layer), ("table", table)):
        problem = _name_problem(name)
        if problem:
            place = f"{where}: " if where else ""
            raise KeyConventionError(f"{place}the {part} {name!r} {problem}")
    # Imported here because Dagster takes two seconds to load, and not every gate needs it.
    from dagster import AssetKey

    return AssetKey([layer, table])


def key_problem(path: Sequence[str]) -> str | None:
    """Return how a key breaks the convention, and the fix; None: it does not."""
    if len(path) != 2:
        return (
            f"has {len(path)} part{'' if len(path) == 1 else 's'}; a key is [layer, table]: "
            "the logical schema, then the table"
        )
    for part, name in zip(("layer", "table"), path, strict=True):
        problem = _name_problem(name)
        if problem:
            return f"has the {part} {name!r}, which {problem}"
    return None


def conventional_name(name: str) -> str:
    """Return the nearest name that the convention accepts; "" if nothing is left of `name`."""
    # Postgres, dbt and Airbyte's destinations all end in lower-case words joined by "_".
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _name_problem(name: object) -> str | None:
    if not isinstance(name, str):
        return f"is not text but {type(name).__name__}; write a name"
    if _NAME.fullmatch(name):
        return None
    if not name.strip():
        return "is empty; give it a name of lower-case letters, digits and underscores"
    better = conventional_name(name)
    return "is not made of lower-case letters, digits and underscores" + (
        f"; name it {better!r}" if better else ""
    )
