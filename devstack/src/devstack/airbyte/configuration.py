"""A connector's configuration: checked against the connector's specification, shown with masks.

Secrets are the properties that the specification marks `airbyte_secret`. Only the connector gets
them; clients see `**********` instead. A client that sends this mask back keeps the secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError, best_match

from devstack.airbyte.errors import unprocessable
from devstack.airbyte.protocol import MASK


def check(specification: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
    """Raise `Problem` 422 for a configuration that the connector would not accept.

    The problem names each wrong field and the rule that it breaks, but not the value.
    """
    errors = sorted(Draft7Validator(specification).iter_errors(configuration), key=str)
    if errors:
        raise unprocessable("; ".join(sorted({_explain(error) for error in errors})))


def masked(specification: Mapping[str, Any], configuration: Any) -> Any:
    """Return the configuration with a mask for every secret."""
    if isinstance(configuration, Mapping):
        schemas = _property_schemas(specification)
        return {
            name: MASK
            if any(one.get("airbyte_secret") for one in schemas.get(name, []))
            else _masked_by_all(schemas.get(name, []), value)
            for name, value in configuration.items()
        }
    if isinstance(configuration, list):
        items = [one for one in _branches(specification) if isinstance(one.get("items"), Mapping)]
        return [_masked_by_all([one["items"] for one in items], value) for value in configuration]
    return configuration


def secrets_of(specification: Mapping[str, Any], configuration: Any) -> list[str]:
    """Return every secret in the configuration, the longest first: no log may repeat them."""
    found = _differing(configuration, masked(specification, configuration))
    return sorted({text for text in found if text}, key=len, reverse=True)


def unmasked(new: Any, old: Any) -> Any:
    """Return the new configuration with each mask replaced by the old configuration's secret.

    Raises `Problem` 422 for a mask where no secret was stored.
    """
    if new == MASK:
        if not isinstance(old, str):
            raise unprocessable("a masked secret stands where no secret was stored before")
        return old
    if isinstance(new, Mapping):
        before = old if isinstance(old, Mapping) else {}
        return {name: unmasked(value, before.get(name)) for name, value in new.items()}
    if isinstance(new, list):
        earlier = old if isinstance(old, list) else []
        padded = earlier + [None] * (len(new) - len(earlier))
        return [unmasked(value, before) for value, before in zip(new, padded, strict=False)]
    return new


def merged(old: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old configuration with a change to some of its fields; objects are merged."""
    result = dict(old)
    for name, value in change.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[name] = merged(before, value)
        else:
            result[name] = value
    return result


def without_nulls(value: Any) -> Any:
    """Return the document without its null members: Airbyte's clients fail on them."""
    if isinstance(value, Mapping):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return value


def _differing(original: Any, hidden: Any) -> Iterator[str]:
    """Yield the values of the original where `hidden` has a mask."""
    if hidden == MASK:
        yield original if isinstance(original, str) else str(original)
    elif isinstance(hidden, Mapping):
        for name, value in hidden.items():
            yield from _differing(original[name], value)
    elif isinstance(hidden, list):
        for one, value in zip(original, hidden, strict=True):
            yield from _differing(one, value)


def _masked_by_all(schemas: list[Mapping[str, Any]], value: Any) -> Any:
    for schema in schemas:
        value = masked(schema, value)
    return value


def _property_schemas(schema: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return all schemas of each property, from every branch: a secret in one is one in all."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for branch in _branches(schema):
        for name, one in branch.get("properties", {}).items():
            if isinstance(one, Mapping):
                found.setdefault(name, []).append(one)
    return found


def _branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for word in ("oneOf", "anyOf", "allOf"):
        for branch in schema.get(word, []):
            if isinstance(branch, Mapping):
                yield from _branches(branch)


def _explain(error: ValidationError) -> str:
    """Return what is wrong where, without the value, which jsonschema's own message quotes."""
    if error.validator in ("oneOf", "anyOf") and error.context:
        inner = best_match(error.context)
        if inner is not None and inner.validator not in ("oneOf", "anyOf"):
            error = inner
    where = "configuration" + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    )
    if error.validator == "required":
        required: Any = error.validator_value
        given: Any = error.instance
        missing = [name for name in required if name not in given]
        return f"{where}: required property missing: {', '.join(missing)}"
    if error.validator in ("type", "enum", "const", "pattern", "minimum", "maximum", "minItems"):
        return f"{where}: must have {error.validator} {error.validator_value}"
    return f"{where}: breaks the rule '{error.validator}' of the connector's specification"
