"""What a connector's specification says about one place of a configuration.

A place is a path: names of properties, and positions in lists as text. Where the specification
offers alternatives (`oneOf` and its like), what any of them says about a place counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingestion.airbyte.record import connector_spec

__all__ = ["is_default", "is_number", "is_secret", "secret_paths"]

Path = tuple[str, ...]
Schema = Mapping[str, Any]


def secret_paths(connector: str, value: Any, path: Path = ()) -> Iterator[Path]:
    """The places that are filled in `value`, which stands at `path`, and marked as secret."""
    return _secrets(_schemas_at(connector, path), value, path)


def is_secret(connector: str, path: Path) -> bool:
    return any(schema.get("airbyte_secret") for schema in _schemas_at(connector, path))


def is_number(connector: str, path: Path) -> bool:
    """Whether a number belongs there, however a server writes it."""
    return any(
        schema.get("type") in ("integer", "number") for schema in _schemas_at(connector, path)
    )


def is_default(connector: str, path: Path, value: Any) -> bool:
    """Whether a server may have filled this in for want of a value."""
    if value in (None, "", [], {}):
        return True
    return any(_fills_in(schema, value) for schema in _schemas_at(connector, path))


def _fills_in(schema: Schema, value: Any) -> bool:
    for word in ("const", "default"):
        if word in schema and value == schema[word]:
            return True
    if not isinstance(value, Mapping):
        return False
    # An object without a default of its own: the first alternative is what a server fills in.
    first = next(iter(schema.get("oneOf") or ()), schema)
    properties = first.get("properties") or {}
    return bool(properties) and all(
        name in properties and _fills_in(properties[name], inner) for name, inner in value.items()
    )


def _secrets(schemas: list[Schema], value: Any, path: Path) -> Iterator[Path]:
    if any(schema.get("airbyte_secret") for schema in schemas):
        yield path
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(_steps(schemas, str(name)), inner, (*path, str(name)))
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from _secrets(_steps(schemas, str(position)), inner, (*path, str(position)))


def _schemas_at(connector: str, path: Path) -> list[Schema]:
    spec = connector_spec(connector)
    schemas: list[Schema] = [spec] if spec else []
    for name in path:
        schemas = _steps(schemas, name)
    return schemas


def _steps(schemas: list[Schema], name: str) -> list[Schema]:
    """Every schema that any alternative of these gives for the next step of a path."""
    found: list[Schema] = []
    for schema in schemas:
        for branch in _branches(schema):
            inner = (branch.get("properties") or {}).get(name)
            if inner is None and name.isdigit():
                inner = branch.get("items")
            if isinstance(inner, Mapping):
                found.append(inner)
    return found


def _branches(schema: Schema) -> Iterator[Schema]:
    yield schema
    for word in ("oneOf", "anyOf", "allOf"):
        for branch in schema.get(word) or ():
            yield from _branches(branch)
