"""The differences between a configuration as declared and as the server has it.

These are not differences: nulls, defaults that the server filled in, the way it writes numbers,
secrets that it masks. Whether a secret changed follows from its digest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ingestion.airbyte.configuration import Configuration
from ingestion.airbyte.secrets import HIDDEN, matches
from ingestion.airbyte.specification import is_default, is_number, is_secret, secret_paths

__all__ = ["Change", "added", "configuration_changes", "secret_changes"]

Operation = Literal["+", "-", "~"]
Path = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One difference: at `path`, from `old` to `new`."""

    operation: Operation
    path: Path
    old: Any = None
    new: Any = None
    secret: bool = False
    """If true, `old` and `new` are words about the secret, never its value."""


def added(value: Any, path: Path, secrets: Mapping[str, str]) -> Iterator[Change]:
    """Yield a change for each leaf of a new value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from added(inner, (*path, str(name)), secrets)
    elif ".".join(path[1:]) in secrets:
        yield Change("+", path, secret=True)
    else:
        yield Change("+", path, new=_masked(value, path[1:], secrets))


def configuration_changes(
    connector: str, configuration: Configuration, old: Mapping[str, Any]
) -> Iterator[Change]:
    """Yield the differences between a configuration and the server's, without its secrets."""
    return _Comparison(connector, configuration.secrets).of_objects(
        configuration.values, old, ("configuration",)
    )


def secret_changes(
    configuration: Configuration, old: Mapping[str, Any], known: Mapping[str, str]
) -> Iterator[Change]:
    """Yield the secrets that are new, differ from those applied last, or have no digest.

    An adopted secret without a digest counts as the one that the server has.

    `old` is the server's configuration, `known` the digests of the secrets applied last.
    """
    for dotted, secret in sorted(configuration.secrets.items()):
        path = tuple(dotted.split("."))
        place = ("configuration", *path)
        if _value_at(old, path) is None:
            yield Change("+", place, secret=True)
        elif dotted not in known and dotted in configuration.adopted:
            continue
        elif dotted not in known:
            yield Change("~", place, "unknown", "set", secret=True)
        elif not matches(secret, known[dotted]):
            yield Change("~", place, "old", "new", secret=True)


class _Comparison:
    """Compares two configurations of one connector."""

    def __init__(self, connector: str, secrets: Mapping[str, str]) -> None:
        self._connector = connector
        self._secrets = secrets

    def of_objects(
        self, new: Mapping[str, Any], old: Mapping[str, Any], path: Path
    ) -> Iterator[Change]:
        """Yield the differences between two objects at `path`."""
        for name, declared in new.items():
            place, actual = (*path, name), old.get(name)
            if ".".join(place[1:]) in self._secrets:
                continue
            if isinstance(declared, Mapping):
                inner = actual if isinstance(actual, Mapping) else {}
                yield from self.of_objects(declared, inner, place)
            elif actual is None:
                if declared is not None:
                    yield from added(declared, place, self._secrets)
            elif not self._equal(declared, actual, place):
                before, after = self._masked(actual, place), self._masked(declared, place)
                yield Change("~", place, before, after)
        for name, actual in old.items():
            place = (*path, name)
            if name not in new and not is_default(self._connector, place[1:], actual):
                secret = is_secret(self._connector, place[1:])
                shown = None if secret else self._masked(actual, place)
                yield Change("-", place, shown, secret=secret)

    def _masked(self, value: Any, path: Path) -> Any:
        """Return the value with its secrets masked, also those that only the server has."""
        marked = {".".join(place) for place in secret_paths(self._connector, value, path[1:])}
        return _masked(value, path[1:], {*self._secrets, *marked})

    def _equal(self, new: Any, old: Any, path: Path) -> bool:
        if ".".join(path[1:]) in self._secrets:
            return True
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            return not any(self.of_objects(new, old, path))
        if _is_list(new) and _is_list(old):
            return len(new) == len(old) and all(
                self._equal(one, other, (*path, str(position)))
                for position, (one, other) in enumerate(zip(new, old, strict=True))
            )
        if isinstance(new, bool) or isinstance(old, bool):
            return new is old
        if is_number(self._connector, path[1:]):
            try:
                return float(new) == float(old)
            except (TypeError, ValueError):
                return False
        return bool(new == old)


def _masked(value: Any, path: Path, secrets: Collection[str]) -> Any:
    """Return the value with every secret in it masked, also those inside lists."""
    if ".".join(path) in secrets:
        return HIDDEN
    if isinstance(value, Mapping):
        return {k: _masked(inner, (*path, str(k)), secrets) for k, inner in value.items()}
    if _is_list(value):
        return [_masked(inner, (*path, str(i)), secrets) for i, inner in enumerate(value)]
    return value


def _value_at(value: Any, path: Path) -> Any:
    """Return the value at a path below `value`; None if there is none."""
    for name in path:
        if _is_list(value):
            value = value[int(name)] if name.isdigit() and int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
