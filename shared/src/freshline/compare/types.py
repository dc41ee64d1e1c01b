"""Compares the type that a producer gives a column with the type that its readers expect."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, Final

__all__ = ["accepts"]

_DEFAULT_DIALECT: Final = "postgres"


def accepts(expected: str | None, actual: str | None, kinds: Collection[str] = ()) -> bool:
    """Return whether a reader that expects type `expected` can use values of type `actual`.

    Two names of one type are the same type (``text`` and ``varchar``, ``int8`` and ``bigint``).
    If `expected` has a length or precision, `actual` must have one that is not larger. `kinds` are
    those of the producing asset: a kind that is the name of a SQL dialect selects that dialect. An
    unknown or missing type is accepted: the gate does not guess.
    """
    if expected is None or actual is None or _normalized(expected) == _normalized(actual):
        return True
    dialect = _dialect(tuple(sorted(kinds)))
    wanted, given = _parsed(expected, dialect), _parsed(actual, dialect)
    if wanted is None or given is None:
        return True
    return _same_type(wanted, given) and _fits(wanted, given)


def _normalized(name: str) -> str:
    return "".join(name.lower().split())


def _same_type(wanted: Any, given: Any) -> bool:
    if wanted.this in wanted.TEXT_TYPES and given.this in given.TEXT_TYPES:
        return True
    if wanted.this != given.this:
        return False
    # Elements of arrays and structs are types themselves.
    inner = [
        [part for part in one.expressions if part.key == wanted.key] for one in (wanted, given)
    ]
    return len(inner[0]) == len(inner[1]) and all(
        _same_type(one, other) and _fits(one, other) for one, other in zip(*inner, strict=True)
    )


def _fits(wanted: Any, given: Any) -> bool:
    """Return whether every value of `given` fits the length or precision of `wanted`."""
    limits, sizes = _sizes(wanted), _sizes(given)
    if not limits:
        return True
    if not sizes:
        return False
    precision_fits = sizes[0] <= limits[0]
    return precision_fits and (limits[1:] or [0]) == (sizes[1:] or [0])


def _sizes(type_: Any) -> list[int]:
    sizes = [part.name for part in type_.expressions if part.key == "datatypeparam"]
    # Readers do not rely on a length of "max", or on the precision of a timestamp.
    limited = type_.this in type_.TEXT_TYPES or type_.this in type_.NUMERIC_TYPES
    return [int(size) for size in sizes] if limited and all(map(str.isdigit, sizes)) else []


@lru_cache(maxsize=4096)
def _parsed(name: str, dialect: str) -> Any:
    # Imported here because it takes half a second, and most gates never compare two type names.
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        parsed = exp.DataType.build(name, dialect=dialect)
    except (SqlglotError, ValueError):
        return None
    return None if parsed.this in (parsed.Type.USERDEFINED, parsed.Type.UNKNOWN) else parsed


@lru_cache(maxsize=256)
def _dialect(kinds: tuple[str, ...]) -> str:
    from sqlglot.dialects.dialect import Dialects

    known = {dialect.value for dialect in Dialects if dialect.value}
    return next((kind for kind in kinds if kind in known), _DEFAULT_DIALECT)
