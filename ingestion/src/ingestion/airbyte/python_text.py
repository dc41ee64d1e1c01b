"""Declarations as the text of a Python file: `connections.py`, laid out as ruff lays it out."""

from __future__ import annotations

import builtins
import itertools
import json
import keyword
import re
import unicodedata
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from ingestion.airbyte.declaration import Basic, Connection, Cron, Secret

__all__ = ["free_name", "identifier", "python_text", "slug"]

_WIDTH: Final = 100
_INDENT: Final = "    "
_HEAD: Final = '''\
"""The connections that this team runs: the one place to declare them.

Both the assets of the location and what `ingestion apply` makes in Airbyte follow from this file.
"""

from __future__ import annotations

from ingestion.airbyte.declaration import (
'''
_IMPORTED: Final = (
    *("Basic", "Connection", "Cron", "Destination", "Secret", "Source", "Stream"),
    "check_connections",
)
# The second line has what Dagster takes for no op.
_RESERVED: Final = frozenset(
    {"annotations", "check_connections", *keyword.kwlist, *dir(builtins)}
    | {
        "arg_dict",
        "conf",
        "config",
        "context",
        "input_arg_dict",
        "meta",
        "output",
        "output_arg_dict",
    }
)


@dataclass(frozen=True)
class _Call:
    """A call, such as `Source(name="github")`."""

    function: str
    arguments: Sequence[tuple[str, Any]]
    """Names and values; a name is empty for an argument by position."""


@dataclass(frozen=True)
class _Variable:
    name: str


def python_text(connections: Sequence[Connection]) -> str:
    """Return a file that declares these connections, with their sources and destinations."""
    taken = {connection.name for connection in connections}
    variables: dict[tuple[str, str], str] = {}
    blocks: list[tuple[str, _Call]] = []
    for connection in connections:
        for kind, actor in (("destination", connection.destination), ("source", connection.source)):
            if (kind, actor.name) not in variables:
                name = identifier(actor.name, kind, taken)
                taken.add(name)
                variables[kind, actor.name] = name
                blocks.append((name, _call_of(actor)))
    for connection in connections:
        ends = {
            "source": _Variable(variables["source", connection.source.name]),
            "destination": _Variable(variables["destination", connection.destination.name]),
        }
        blocks.append((connection.name, _call_of(connection, ends)))
    every = tuple(_Variable(connection.name) for connection in connections)
    blocks.append(("CONNECTIONS", _Call("check_connections", [("", every)])))
    texts = [f"{name} = {_laid_out(call, 0, len(name) + 3)}" for name, call in blocks]
    body = "\n\n".join(texts)
    words = [f"{_INDENT}{word},\n" for word in _IMPORTED if re.search(rf"\b{word}\(", body)]
    return f"{_HEAD}{''.join(words)})\n\n{body}\n"


def identifier(name: str, kind: str, taken: Container[str]) -> str:
    """Return a name for a variable, and for an op, that is like `name` and not taken."""
    stem = slug(name) or kind
    if stem[0].isdigit() or stem in _RESERVED:
        stem = f"{kind}_{stem}"
    return free_name(stem, taken)


def slug(text: str) -> str:
    """Return the text in small ASCII letters, digits and single underscores; it may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name, with a number if it is taken."""
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def _call_of(model: BaseModel, given: Mapping[str, Any] | None = None) -> _Call:
    """Return the call that makes a model. Fields in `given` have another value there."""
    fields = {
        name: getattr(model, name)
        for name, field in type(model).model_fields.items()
        if getattr(model, name) != field.default
    }
    return _Call(type(model).__name__, list({**fields, **(given or {})}.items()))


def _laid_out(value: Any, depth: int, column: int) -> str:
    """Return the Python of a value that begins at `column`, on one line if it fits."""
    flat = _flat(value)
    opening, items, closing = _parts(value)
    if not items or column + len(flat) + 1 <= _WIDTH:
        return flat
    indent = _INDENT * (depth + 1)
    lines = (
        f"{indent}{prefix}{_laid_out(inner, depth + 1, len(indent) + len(prefix))},\n"
        for prefix, inner in items
    )
    return f"{opening}\n{''.join(lines)}{_INDENT * depth}{closing}"


def _flat(value: Any) -> str:
    opening, items, closing = _parts(value)
    inner = ", ".join(f"{prefix}{_flat(one)}" for prefix, one in items)
    comma = "," if opening == "(" and len(items) == 1 else ""
    return f"{opening}{inner}{comma}{closing}"


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Return what stands before, in and after the brackets of a value."""
    match value:
        case _Variable(name):
            return name, [], ""
        case _Call(function, arguments):
            given = [(f"{name}=" if name else "", inner) for name, inner in arguments]
            return f"{function}(", given, ")"
        case BaseModel():
            return _parts(_call_of(value))
        case Secret() | Cron() | Basic():
            return _parts(_Call(type(value).__name__, list(_arguments(value))))
        case Mapping():
            return "{", [(f"{_flat(name)}: ", inner) for name, inner in value.items()], "}"
        case tuple():
            return "(", [("", inner) for inner in value], ")"
        case list():
            return "[", [("", inner) for inner in value], "]"
        case str() if value.isprintable():
            return json.dumps(value, ensure_ascii=False), [], ""
    return repr(value), [], ""


def _arguments(value: Secret | Cron | Basic) -> Iterator[tuple[str, Any]]:
    match value:
        case Secret():
            yield "", value.name
            if value.adopted:
                yield "adopted", True
        case Cron():
            yield "", value.expression
        case Basic():
            yield "", value.timing
