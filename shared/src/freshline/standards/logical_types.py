"""Which of the standard's logical types does a column have, by its type in the warehouse?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from freshline.compare.engines import engines_of, sql_type

__all__ = ["logical_type"]

_BY_NAME: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("TEXT", "UUID", "ENUM", "XML", "INET"),
    "integer": ("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "INT128", "INT256"),
    "number": ("DECIMAL", "BIGDECIMAL", "FLOAT", "DOUBLE", "MONEY"),
    "boolean": ("BOOLEAN",),
    "date": ("DATE",),
    "time": ("TIME", "TIMETZ"),
    "timestamp": ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPLTZ", "DATETIME", "DATETIME64"),
    "array": ("ARRAY",),
    "object": ("JSON", "JSONB", "STRUCT", "MAP", "OBJECT", "VARIANT", "HSTORE"),
}

_LOGICAL: Final = {name: logical for logical, names in _BY_NAME.items() for name in names}


def logical_type(physical: str | None, kinds: Collection[str]) -> str | None:
    """Return the logical type; None: the physical type is not declared, or has no such type.

    `kinds`, those of the asset, tell whose name `physical` is.
    """
    if not physical:
        return None
    found = {_logical_in(physical, engine) for engine in engines_of(kinds)}
    return found.pop() if len(found) == 1 else None


def _logical_in(physical: str, engine: str) -> str | None:
    known = sql_type(physical, engine)
    return _LOGICAL.get(known.name) if known else None
