"""The key convention: the key of an asset says where its table is, ``[layer, table]``.

Producers (an Airbyte stream, a dbt model) and consumers (a dbt source, a Python asset) make the
key with `asset_key` from what they declare anyway, so nobody copies keys by hand. The layer is the
logical schema: the same in development, CI and production.

That is the default. A workspace whose assets have other keys keeps them and names its own
convention, one of `CONVENTIONS` or a function: see `convention_of`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from freshline.errors import KeyConventionError
from freshline.words import similar

if TYPE_CHECKING:
    from dagster import AssetKey

__all__ = [
    "CONVENTIONS",
    "DAGSTER_DBT",
    "LAYER_TABLE",
    "ONE_PART",
    "THREE_PARTS",
    "Convention",
    "asset_key",
    "better_key",
    "convention_of",
    "conventional_name",
    "key_problem",
    "parts_of",
    "shape",
]

_NAME: Final = re.compile(r"[a-z0-9_]+")

LAYER_TABLE: Final = "layer-table"
"""``[layer, table]``, in lower-case letters, digits and underscores."""
DAGSTER_DBT: Final = "dagster-dbt"
"""The keys that Dagster's own dbt translator makes. Any key of another asset is right."""
ONE_PART: Final = "one-part"
"""``[table]``"""
THREE_PARTS: Final = "three-parts"
"""``[database, layer, table]``"""
CONVENTIONS: Final = (LAYER_TABLE, DAGSTER_DBT, ONE_PART, THREE_PARTS)

KeyFunction: TypeAlias = Callable[[Sequence[str], Mapping[str, Any] | None], Sequence[str]]
"""A convention of one's own: ``function(parts, props)`` returns the right key's parts.

For a dbt resource, `parts` is the key that Dagster's own translator makes, and `props` its entry
in dbt's manifest. To the gate, `parts` is the key as it is and `props` is None: a key is right if
the function returns it unchanged. It may raise `ValueError` with what is wrong.
"""
Convention: TypeAlias = str | KeyFunction


def convention_of(value: object, where: str) -> Convention:
    """Return the convention that `value` names: one of `CONVENTIONS`, or a function.

    A function is itself, or ``"package.module:function"``, which is imported. Raises
    `KeyConventionError`, whose message begins with `where`.
    """
    if callable(value):
        return value
    if isinstance(value, str) and value in CONVENTIONS:
        return value
    choice = f"write one of {', '.join(CONVENTIONS)}, or package.module:function"
    if not isinstance(value, str) or ":" not in value:
        meant = similar(str(value), CONVENTIONS)
        guess = f"did you mean {meant}? If not, {choice}" if meant else choice
        raise KeyConventionError(f"{where}: {value!r} is no key convention: {guess}.")
    module, _, name = value.partition(":")
    try:
        function: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise KeyConventionError(f"{where}: {value} cannot be imported: {error}.") from None
    if not callable(function):
        raise KeyConventionError(f"{where}: {value} is no function: {choice}.")
    chosen: KeyFunction = function
    return chosen


def parts_of(
    function: KeyFunction, parts: Sequence[str], props: Mapping[str, Any] | None, where: str
) -> list[str]:
    """Return the parts of the key that `function` gives. Raises `KeyConventionError`."""
    try:
        answer: object = function(list(parts), props)
    except ValueError as error:
        raise KeyConventionError(f"{where}: {error}") from None
    found = getattr(answer, "path", answer)
    if isinstance(found, str) or not isinstance(found, Sequence) or not found:
        raise KeyConventionError(
            f"{where}: the function for keys returned {answer!r}; it must return the parts of a "
            "key, such as ['raw', 'orders']."
        )
    return [str(part) for part in found]


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


def key_problem(path: Sequence[str], convention: Convention = LAYER_TABLE) -> str | None:
    """Return how a key breaks the convention, and the fix; None: it does not."""
    if callable(convention):
        return _function_problem(path, convention)
    if convention == DAGSTER_DBT:
        return None
    length, is_made_of = _SHAPES[convention]
    if len(path) != length:
        return f"has {len(path)} part{'' if len(path) == 1 else 's'}; a key is {is_made_of}"
    if convention != LAYER_TABLE:
        return None if all(path) else f"has an empty part; a key is {is_made_of}"
    for part, name in zip(("layer", "table"), path, strict=True):
        problem = _name_problem(name)
        if problem:
            return f"has the {part} {name!r}, which {problem}"
    return None


def better_key(path: Sequence[str], convention: Convention = LAYER_TABLE) -> list[str] | None:
    """Return the key that the convention gives instead of `path`; None: it cannot tell."""
    if callable(convention):
        try:
            return parts_of(convention, path, None, "")
        except KeyConventionError:
            return None
    better = [conventional_name(part) for part in path]
    fits = convention == LAYER_TABLE and len(better) == 2 and all(better)
    return better if fits else None


def shape(convention: Convention) -> str:
    """Return what a key is made of, for messages."""
    if callable(convention) or convention == DAGSTER_DBT:
        return "as the workspace's convention has it"
    return _SHAPES[convention][1]


_SHAPES: Final = {
    LAYER_TABLE: (2, "[layer, table]: the logical schema, then the table"),
    ONE_PART: (1, "[table]"),
    THREE_PARTS: (3, "[database, layer, table]"),
}


def _function_problem(path: Sequence[str], function: KeyFunction) -> str | None:
    try:
        better = parts_of(function, path, None, "is not by the workspace's convention")
    except KeyConventionError as error:
        return str(error).removesuffix(".")
    if better == list(path):
        return None
    return f"is {'/'.join(better)} by the workspace's convention"


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
