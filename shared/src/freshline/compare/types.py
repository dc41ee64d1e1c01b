"""Compares the type that a producer gives a column with the type that its readers expect."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from freshline.compare.engines import SqlType, engines_of, sql_type

__all__ = ["accepts", "unread_types"]

_WITHOUT_STRING: Final = frozenset({"postgres", "redshift", "mysql", "tsql", "oracle", "trino"})
"""Engines without a type `string`, which Dagster writes for a column that is given no type."""


def accepts(
    expected: str | None,
    actual: str | None,
    kinds: Collection[str] = (),
    reader_kinds: Collection[str] = (),
) -> bool:
    """Return whether a reader that expects type `expected` can use values of type `actual`.

    Two names of one type are the same type (``text`` and ``varchar``, ``int8`` and ``bigint``).
    If `expected` has a length or precision, `actual` must have one that is not larger. `kinds` and
    `reader_kinds`, those of the asset and of its readers, tell whose type names these are. A
    missing type, and one that is not known, is accepted: the gate does not guess.
    """
    return _fits(expected, actual, kinds, reader_kinds) is not False


def unread_types(
    expected: str | None,
    actual: str | None,
    kinds: Collection[str] = (),
    reader_kinds: Collection[str] = (),
) -> list[str]:
    """Return which of the two types is not known, if they cannot be compared for that reason."""
    if _fits(expected, actual, kinds, reader_kinds) is not None:
        return []
    engines = engines_of(kinds, reader_kinds)
    return [
        name
        for name in (expected, actual)
        if name and any(_read(name, engine) is None for engine in engines)
    ]


def _fits(
    expected: str | None,
    actual: str | None,
    kinds: Collection[str],
    reader_kinds: Collection[str],
) -> bool | None:
    """Return whether `actual` fits in one of the engines that may be meant; None: not known."""
    if _is_missing(expected) or _is_missing(actual) or expected is None or actual is None:
        return True
    if _normalized(expected) == _normalized(actual):
        return True
    return _fits_in(expected, actual, engines_of(kinds, reader_kinds))


@lru_cache(maxsize=8192)
def _fits_in(expected: str, actual: str, engines: tuple[str, ...]) -> bool | None:
    answers = set()
    for engine in engines:
        wanted, given = sql_type(expected, engine), sql_type(actual, engine)
        if wanted and given and _accepts(wanted, given):
            return True
        known = _read(expected, engine) and _read(actual, engine)
        answers.add(False if known else None)
    return None if None in answers else False


def _read(name: str, engine: str) -> SqlType | None:
    if engine in _WITHOUT_STRING and _normalized(name) == "string":
        return None
    return sql_type(name, engine)


def _is_missing(name: str | None) -> bool:
    # dbt's translators write "?" for a column whose type nobody has written.
    return not name or name.strip() in ("", "?")


def _normalized(name: str) -> str:
    return "".join(name.lower().split())


def _accepts(wanted: SqlType, given: SqlType) -> bool:
    return _same_name(wanted, given) and _sizes_fit(wanted, given) and _parts_fit(wanted, given)


def _same_name(wanted: SqlType, given: SqlType) -> bool:
    if wanted.name == "TEXT":
        return given.name in ("TEXT", "own citext", "ENUM")  # values of all three are read as text
    if wanted.name == given.name == "ENUM":
        return given.values <= wanted.values
    intervals = wanted.name.startswith("INTERVAL") and given.name.startswith("INTERVAL")
    return wanted.name == given.name or (
        intervals and "INTERVAL" in (wanted.name, given.name)  # one does not say which
    )


def _sizes_fit(wanted: SqlType, given: SqlType) -> bool:
    """Return whether every value of `given` fits the length or precision that `wanted` names."""
    if not wanted.named_sizes or given.name == "ENUM":
        return True
    if not given.sizes:
        return False
    if wanted.name in ("ARRAY", "VECTOR"):
        return wanted.sizes == given.sizes
    return given.sizes[0] <= wanted.sizes[0] and wanted.sizes[1:] == given.sizes[1:]


def _parts_fit(wanted: SqlType, given: SqlType) -> bool:
    """Return whether elements and fields fit. A type that does not say what it holds fits all."""
    if not wanted.parts or not given.parts:
        return True
    if all(name for name, _ in (*wanted.parts, *given.parts)):
        fields = dict(given.parts)
        return all(name in fields and _accepts(one, fields[name]) for name, one in wanted.parts)
    return len(wanted.parts) == len(given.parts) and all(
        _accepts(one, other) for (_, one), (_, other) in zip(wanted.parts, given.parts, strict=True)
    )
