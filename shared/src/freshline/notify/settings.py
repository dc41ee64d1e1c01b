"""The settings of `freshline notify`: who is told, where, and how often.

They are a TOML file of their own, because they belong to whoever runs the notifier, and not to the
workspace's code.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from freshline.check.finding import shown
from freshline.errors import SettingsError
from freshline.words import read_span, similar

__all__ = ["Address", "NotifySettings", "read_notify_settings"]

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_ADDRESS: Final = "slack://${SLACK_TOKEN}/alerts"

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Address(NamedTuple):
    """Where a message can be sent to."""

    url: str
    """As apprise knows it. It may hold secrets, so it is never shown."""
    where: str
    """The file and the field that have it, for messages."""
    id: str
    """The same as long as the settings write the address the same way. It tells no secret."""


class NotifySettings(NamedTuple):
    """The settings of a notifier."""

    file: Path
    owners: Mapping[str, tuple[Address, ...]]
    """The addresses of each owner that has some: ``team:analytics``, or an e-mail address."""
    others: tuple[Address, ...]
    """Those for owners that have none, and for assets without an owner."""
    repeat_seconds: float | None
    """After how many seconds it is told again what is still broken; None: never."""

    def addresses(self) -> list[Address]:
        """Return all addresses, each once."""
        every = [*self.owners.values(), self.others]
        return list({it.id: it for addresses in every for it in addresses}.values())

    def addresses_of(self, owners: Iterable[str]) -> dict[str, Address]:
        """Return where `owners` hear of something, by the addresses' ids.

        That is `others` for an owner who has no address.
        """
        found = (it for name in owners for it in self.owners.get(name, self.others))
        return {it.id: it for it in found}


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    repeat: _Text | None = None
    others: tuple[_Text, ...] = ()
    owners: dict[str, tuple[_Text, ...]] = Field(default_factory=dict)


def read_notify_settings(
    path: Path, environment: Mapping[str, str] | None = None
) -> NotifySettings:
    """Return the settings in the TOML file `path`.

    ``${NAME}`` in an address is the variable of that name in `environment`, by default that of the
    process. Raises `SettingsError`, which names the file, the field and the fix.
    """
    content = _read(path)
    variables = os.environ if environment is None else environment
    owners = {
        name: tuple(_addresses(texts, f'{shown(path)}: owners."{name}"', variables))
        for name, texts in content.owners.items()
    }
    others = tuple(_addresses(content.others, f"{shown(path)}: others", variables))
    if not others and not any(owners.values()):
        raise SettingsError(
            f"{shown(path)}: no address, so nobody would be told; write who is told of what nobody "
            f'else hears of: others = ["{_ADDRESS}"]'
        )
    return NotifySettings(path, owners, others, _repeat(content.repeat, path))


def _read(path: Path) -> _Content:
    try:
        return _Content.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(
            f"{shown(path)}: {error.strerror}; docs/monitoring.md says what to write into it."
        ) from None
    except ValidationError as error:
        raise SettingsError(f"{shown(path)}: {_explained(error.errors()[0])}") from None
    except ValueError as error:  # TOML that cannot be parsed, or bytes that are not UTF-8
        raise SettingsError(f"{shown(path)} is not TOML: {error}.") from None


def _addresses(texts: Iterable[str], field: str, variables: Mapping[str, str]) -> Iterator[Address]:
    for number, text in enumerate(texts, 1):
        where = f"{field}[{number}]"
        digest = sha256(text.encode()).hexdigest()[:16]
        yield Address(_with_variables(text, where, variables), where, digest)


def _with_variables(text: str, where: str, variables: Mapping[str, str]) -> str:
    """Return `text` with the values of its variables.

    A variable that is the whole text holds a whole address. In any other place it is a part of one,
    so what would end that part is written as addresses have to have it.
    """
    whole = _VARIABLE.fullmatch(text)

    def value(match: re.Match[str]) -> str:
        found = variables.get(match[1], "")
        if not found:
            raise SettingsError(
                f"{where}: the environment has no {match[1]}; set it, or write the address without "
                "${...}."
            )
        return found if whole else quote(found, safe="")

    return _VARIABLE.sub(value, text)


def _repeat(text: str | None, path: Path) -> float | None:
    if text is None:
        return None
    seconds = read_span(text)
    if not seconds:
        raise SettingsError(
            f"{shown(path)}: repeat: {text!r} is no duration; write 30m, 4h or 1d, or leave it out "
            "if nothing is to be told again."
        )
    return seconds


def _explained(error: ErrorDetails) -> str:
    path: list[Any] = list(error["loc"])
    # Numbers are of places in a list, and people count from one.
    names = [part if part.isidentifier() else f'"{part}"' for part in path if isinstance(part, str)]
    where = ".".join(names) + "".join(f"[{part + 1}]" for part in path if isinstance(part, int))
    value, kind = error["input"], error["type"]
    if kind == "extra_forbidden":
        known = sorted(_Content.model_fields)
        meant = similar(str(path[-1]), known)
        choice = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}."
        return f"{where}: no such setting; {choice}"
    if kind == "string_too_short":
        return f"{where}: is empty; write what it is."
    if path[0] in ("owners", "others") and kind in ("tuple_type", "string_type"):
        # What is written there may be an address, with its secrets.
        return f'{where}: must be a list of addresses, such as ["{_ADDRESS}"].'
    return f"{where}: {error['msg'].lower()}, not {value!r}."
