"""What a connector's specification says about one property of a configuration.

A property is given by its path: names, and positions in lists as text. Where the specification
offers alternatives (`oneOf`, `anyOf`, `allOf`), it is enough that one of them says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingestion.airbyte.record import connector_spec

__all__ = ["is_default", "is_number", "is_secret", "secret_paths"]

Path = tuple[str, ...]
Schema = Mapping[str, Any]


def secret_paths(connector: str, value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of each secret that `value` holds; `path` is the path of `value` itself."""
    return _secrets(_schemas_at(connector, path), value, path)


def is_secret(connector: str, path: Path) -> bool:
    """Return whether the property is marked as a secret."""
    return any(schema.get("airbyte_secret") for schema in _schemas_at(connector, path))


def is_number(connector: str, path: Path) -> bool:
    """Return whether the property is a number, which servers write in more than one way."""
    return any(
        schema.get("type") in ("integer", "number") for schema in _schemas_at(connector, path)
    )


def is_default(connector: str, path: Path, value: Any) -> bool:
    """Return whether a server may have filled in this value because none was given."""
    if value in (None, "", [], {}):
        return True
    return any(_fills_in(schema, value) for schema in _schemas_at(connector, path))


def _fills_in(schema: Schema, value: Any) -> bool:
    """Return whether a server that follows the schema may fill in this value."""
    for word in ("const", "default"):
        if word in schema and value == schema[word]:
            return True
    if not isinstance(value, Mapping):
        return False
    # For an object without a default of its own, a server fills in the first alternative.
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
            yield from _secrets(_schemas_of(schemas, str(name)), inner, (*path, str(name)))
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from _secrets(_schemas_of(schemas, str(position)), inner, (*path, str(position)))


def _schemas_at(connector: str, path: Path) -> list[Schema]:
    spec = connector_spec(connector)
    schemas: list[Schema] = [spec] if spec else []
    for name in path:
        schemas = _schemas_of(schemas, name)
    return schemas


def _schemas_of(schemas: list[Schema], name: str) -> list[Schema]:
    """Return what the schemas, with all their alternatives, say about the property `name`."""
    found: list[Schema] = []
    for schema in schemas:
        for branch in _alternatives(schema):
            inner = (branch.get("properties") or {}).get(name)
            if inner is None and name.isdigit():
                inner = branch.get("items")
            if isinstance(inner, Mapping):
                found.append(inner)
    return found


def _alternatives(schema: Schema) -> Iterator[Schema]:
    """Yield the schema itself and all of its alternatives."""
    yield schema
    for word in ("oneOf", "anyOf", "allOf"):
        for branch in schema.get(word) or ():
            yield from _alternatives(branch)
