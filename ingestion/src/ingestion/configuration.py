"""A connector's configuration: looked up in the environment, checked, compared.

What is secret is what the declaration marks `Secret` and what the connector's own specification
marks `airbyte_secret`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError, best_match

from ingestion.declaration import DeclarationError, Destination, Env, Secret, Source, connector_spec
from ingestion.settings import SettingsError

__all__ = ["Configuration", "number_like", "resolve", "secret_values", "undeclared"]

Path = tuple[str, ...]


@dataclass(frozen=True)
class Configuration:
    """A declared configuration with everything looked up: ready to be sent."""

    values: Mapping[str, Any]
    secrets: Mapping[str, str]
    """By dotted path; also within `values`. Never to be shown."""
    checked: bool
    """Whether there was a specification to check against."""

    def __repr__(self) -> str:
        return f"Configuration({sorted(self.values)}, {len(self.secrets)} secrets)"


def resolve(actor: Source | Destination, env: Mapping[str, str]) -> Configuration:
    """The configuration of a source or destination, as this environment makes it.

    `SettingsError` for a variable that is not set, `DeclarationError` for a configuration that
    the connector's specification refuses or that spells out a secret.
    """
    where = f"{actor.connector} {actor.name!r}"
    secrets: dict[str, str] = {}
    values = _look_up(actor.configuration, (), env, secrets, where)
    spec = connector_spec(actor.connector)
    if spec is not None:
        for path in _secret_paths(spec, values):
            if ".".join(path) not in secrets:
                raise DeclarationError(
                    f'{where}: {".".join(path)} is a secret: write Secret("ITS_VARIABLE") '
                    "in connections.py, not the value"
                )
        _validate(spec, values, where)
    return Configuration(values, secrets, checked=spec is not None)


def secret_values(configuration: Any, env: Mapping[str, str]) -> list[str]:
    """The secrets that a declared configuration refers to, as far as they are set."""
    if isinstance(configuration, Secret):
        return [env[configuration.name]] if env.get(configuration.name) else []
    inner: Any = ()
    if isinstance(configuration, Mapping):
        inner = configuration.values()
    elif isinstance(configuration, (list, tuple)):
        inner = configuration
    return [secret for value in inner for secret in secret_values(value, env)]


def undeclared(connector: str, path: Path, value: Any) -> bool:
    """Whether a value that nobody declared is news, not a default that the server filled in."""
    if value in (None, "", [], {}):
        return False
    spec = connector_spec(connector)
    if spec is None:
        return True
    schemas = _schemas_at(spec, path)
    return not any(_is_default(schema, value) for schema in schemas)


def number_like(connector: str, path: Path) -> bool:
    """Whether the specification says that this is a number, however the server writes it."""
    spec = connector_spec(connector)
    schemas = _schemas_at(spec, path) if spec else []
    return any(schema.get("type") in ("integer", "number") for schema in schemas)


def _look_up(
    value: Any, path: Path, env: Mapping[str, str], secrets: dict[str, str], where: str
) -> Any:
    if isinstance(value, Secret):
        found = env.get(value.name)
        if not found:
            raise SettingsError(
                f"{value.name} is not set: {where} needs it for {'.'.join(path)} "
                "(export it, or put it into .env)"
            )
        secrets[".".join(path)] = found
        return found
    if isinstance(value, Env):
        found = env.get(value.name) or value.default
        if found is None:
            raise SettingsError(
                f"{value.name} is not set: {where} needs it for {'.'.join(path)} "
                "(export it, or put it into .env)"
            )
        if value.type == "integer":
            try:
                return int(found)
            except ValueError:
                raise SettingsError(f"{value.name} must be a whole number") from None
        return found
    if isinstance(value, Mapping):
        return {k: _look_up(v, (*path, str(k)), env, secrets, where) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_look_up(v, (*path, str(i)), env, secrets, where) for i, v in enumerate(value)]
    return value


def _validate(spec: Mapping[str, Any], values: Any, where: str) -> None:
    fault = best_match(Draft7Validator(spec).iter_errors(values))
    if fault is not None:
        raise DeclarationError(f"{where}: {_explain(fault)}")


def _explain(fault: ValidationError) -> str:
    """Where and why, without the value, which may be a secret."""
    inner = best_match(fault.context) if fault.context else None
    fault = inner or fault
    place = ".".join(str(part) for part in fault.absolute_path) or "configuration"
    if fault.validator == "required":
        missing = [name for name in fault.validator_value if name not in fault.instance]
        return f"{place} lacks {', '.join(missing)}"
    if fault.validator == "additionalProperties":
        return f"{place} has a field that the connector does not know"
    return f"{place} breaks the connector's rule: {fault.validator} {fault.validator_value}"


def _secret_paths(schema: Mapping[str, Any], value: Any, path: Path = ()) -> Iterator[Path]:
    """The places in `value` that the specification marks as secret."""
    if not isinstance(value, Mapping):
        return
    for name, inner in value.items():
        for found in _properties(schema, name):
            if found.get("airbyte_secret"):
                yield (*path, name)
            else:
                yield from _secret_paths(found, inner, (*path, name))


def _schemas_at(schema: Mapping[str, Any], path: Path) -> list[Mapping[str, Any]]:
    """Every schema that any branch of the specification has for a place."""
    found = [schema]
    for name in path:
        found = [inner for one in found for inner in _properties(one, name)]
    return found


def _properties(schema: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [
        branch["properties"][name]
        for branch in _branches(schema)
        if isinstance(branch.get("properties", {}).get(name), Mapping)
    ]


def _branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for word in ("oneOf", "anyOf", "allOf"):
        for branch in schema.get(word) or ():
            yield from _branches(branch)


def _is_default(schema: Mapping[str, Any], value: Any) -> bool:
    if "const" in schema and value == schema["const"]:
        return True
    if "default" in schema and value == schema["default"]:
        return True
    if not isinstance(value, Mapping):
        return False
    # An object without a default of its own: the first alternative is what a server fills in.
    first = next(iter(schema.get("oneOf") or ()), schema)
    properties = first.get("properties") or {}
    return bool(properties) and all(
        name in properties and _is_default(properties[name], inner) for name, inner in value.items()
    )
