"""A connector's configuration, looked up in the environment and checked.

A property is a secret if the declaration marks it `Secret`. A value that is spelled out is refused
if the connector's specification says that the property is a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from ingestion.airbyte.declaration import Destination, Env, Secret, Source
from ingestion.airbyte.record import connector_spec
from ingestion.airbyte.secrets import HIDDEN
from ingestion.airbyte.specification import secret_paths
from ingestion.errors import DeclarationError, SettingsError

__all__ = [
    "Configuration",
    "declared_secrets",
    "refuse_by_specification",
    "resolve",
    "secret_values",
]

Path = tuple[str, ...]


@dataclass(frozen=True)
class Configuration:
    """A declared configuration with everything looked up, ready to be sent."""

    values: Mapping[str, Any]
    secrets: Mapping[str, str]
    """The secrets in `values`, by dotted path. They must never be shown."""
    checked: bool
    """Whether there was a specification to check it against."""
    adopted: frozenset[str] = frozenset()
    """Which of the secrets Airbyte had before they were declared."""

    def __repr__(self) -> str:
        return f"Configuration({sorted(self.values)}, {len(self.secrets)} secrets)"


def resolve(actor: Source | Destination, env: Mapping[str, str]) -> Configuration:
    """Return the configuration of a source or destination in this environment.

    Raise `SettingsError` if a variable is not set, `DeclarationError` if the connector's
    specification refuses the configuration or if a secret is spelled out.
    """
    where = f"{actor.connector} {actor.name!r}"
    secrets: dict[str, str] = {}
    values = _look_up(actor.configuration, (), env, secrets, where)
    spec = connector_spec(actor.connector)
    if spec is not None:
        for path in secret_paths(actor.connector, values):
            if ".".join(path) not in secrets:
                raise DeclarationError(
                    f'{where}: {".".join(path)} is a secret: write Secret("ITS_VARIABLE") '
                    "in connections.py, not the value"
                )
        _validate(spec, values, where)
    adopted = frozenset(p for p, one in declared_secrets(actor.configuration) if one.adopted)
    return Configuration(values, secrets, checked=spec is not None, adopted=adopted)


def secret_values(configuration: Any, env: Mapping[str, str]) -> list[str]:
    """Return the secrets that a declared configuration refers to and that are set."""
    return [env[one.name] for _, one in declared_secrets(configuration) if env.get(one.name)]


def declared_secrets(value: Any, path: Path = ()) -> Iterator[tuple[str, Secret]]:
    """Yield each secret in a declared configuration, with its dotted path."""
    if isinstance(value, Secret):
        yield ".".join(path), value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from declared_secrets(inner, (*path, str(name)))
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from declared_secrets(inner, (*path, str(position)))


def _look_up(
    value: Any, path: Path, env: Mapping[str, str], secrets: dict[str, str], where: str
) -> Any:
    if isinstance(value, Secret):
        found = env.get(value.name)
        if not found:
            raise _not_set(value.name, path, where)
        secrets[".".join(path)] = found
        return found
    if isinstance(value, Env):
        found = env.get(value.name) or value.default
        if found is None:
            raise _not_set(value.name, path, where)
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


def _not_set(name: str, path: Path, where: str) -> SettingsError:
    return SettingsError(
        f"{name} is not set: {where} needs it for {'.'.join(path)} (export it, or put it into .env)"
    )


def refuse_by_specification(actor: Source | Destination) -> None:
    """Raise `DeclarationError` if the specification refuses a configuration, whatever its secrets.

    All variables of the configuration must be secrets.
    """
    spec = connector_spec(actor.connector)
    if spec is not None:
        env = {one.name: HIDDEN for _, one in declared_secrets(actor.configuration)}
        values = _look_up(actor.configuration, (), env, {}, "")
        _validate(spec, values, f"{actor.connector} {actor.name!r}", _AnySecret)


def _validate(
    spec: Mapping[str, Any], values: Any, where: str, validator: Any = Draft7Validator
) -> None:
    fault = best_match(validator(spec).iter_errors(values))
    if fault is not None:
        raise DeclarationError(f"{where}: {_explain(fault)}")


def _unless_secret(rule: Any) -> Any:
    """Return a rule of a specification that holds for everything but secrets."""

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not schema.get("airbyte_secret"):
            yield from rule(validator, value, instance, schema) or ()

    return check


_AnySecret: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema has no types for it
    Draft7Validator,
    {
        word: _unless_secret(Draft7Validator.VALIDATORS[word])
        for word in ("type", "pattern", "format", "minLength", "maxLength", "enum", "const")
    },
)


def _explain(fault: ValidationError) -> str:
    """Return what is wrong and where, without the value, which may be a secret."""
    inner = best_match(fault.context) if fault.context else None
    fault = inner or fault
    place = ".".join(str(part) for part in fault.absolute_path) or "configuration"
    if fault.validator == "required":
        required: Any = fault.validator_value
        present: Any = fault.instance
        return f"{place} lacks {', '.join(name for name in required if name not in present)}"
    if fault.validator == "additionalProperties":
        return f"{place} has a field that the connector does not know"
    return f"{place} breaks the connector's rule: {fault.validator} {fault.validator_value}"
