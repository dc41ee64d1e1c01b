"""The settings of a workspace: which convention keys have, what the gate does with its rules, and
which schemas locations have beside those of their assets.

They are in one place: the table ``[tool.freshline]`` of ``pyproject.toml``, or ``freshline.toml``,
which is that table without its name. The nearest such file counts, from the folder of the workspace
upward, as with ruff. Only commands read them: a location is deployed without them.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from freshline.check.finding import Finding, Rule, Severity, shown
from freshline.errors import KeyConventionError, SettingsError
from freshline.keys import Convention, convention_of
from freshline.words import similar

__all__ = ["Exemption", "Level", "Outcome", "Settings", "read_settings", "rule_named"]

_OWN_FILE: Final = "freshline.toml"
_PROJECT_FILE: Final = "pyproject.toml"
_LEVELS: Final = ("finding", "note", "off")

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(_Table):
    """What becomes of all that a rule reports."""

    level: Literal["finding", "note", "off"]
    reason: _Text | None = None
    """Why; required of a rule that is off."""


class Exemption(_Table):
    """Findings that are left out, because somebody has decided that they are right as they are."""

    rule: _Text
    key: _Text
    """The asset keys, as a pattern with `*`, `?` and `[...]`; `*` is also a finding without key."""
    location: _Text | None = None
    """The location, as such a pattern; None: every location."""
    reason: _Text

    def covers(self, finding: Finding) -> bool:
        """Return whether this is about the finding."""
        where = (finding.location, *finding.concerns)
        return (
            finding.rule.value == self.rule
            and fnmatchcase(finding.key or "", self.key)
            and (self.location is None or any(fnmatchcase(it, self.location) for it in where))
        )


class _Content(_Table):
    convention: str | None = None
    rules: dict[str, Level] = Field(default_factory=dict)
    exceptions: tuple[Exemption, ...] = ()
    schemas: dict[str, tuple[_Text, ...]] = Field(default_factory=dict)


class Outcome(NamedTuple):
    """What the settings make of the gate's findings."""

    findings: list[Finding]
    left_out: list[tuple[Finding, str]]
    """The findings that are switched off, each with the reason that the settings give."""


class Settings(NamedTuple):
    """The settings of a workspace; without a file, all of them are the defaults."""

    file: Path | None = None
    convention: Convention | None = None
    """The convention that the gate checks; None: keys are not checked."""
    rules: Mapping[Rule, Level] = {}
    exceptions: Sequence[Exemption] = ()
    schemas: Mapping[str, Sequence[str]] = {}
    """The schemas of the warehouse that a location has beside those of its assets, by location."""

    def applied_to(self, findings: Iterable[Finding], not_judged: Collection[Rule] = ()) -> Outcome:
        """Return the findings as the settings have them: left out, as findings, or as notes.

        An exception that covers nothing is a note, except for the rules in `not_judged`, which
        this time could not find all that there is.
        """
        kept: list[Finding] = []
        left_out: list[tuple[Finding, str]] = []
        needed: set[Exemption] = set()
        for finding in findings:
            covering = [it for it in self.exceptions if it.covers(finding)]
            needed.update(covering)
            level = self.rules.get(finding.rule)
            if covering:
                left_out.append((finding, covering[0].reason))
            elif level is None:
                kept.append(finding)
            elif level.level == "off":
                left_out.append((finding, level.reason or ""))
            else:
                kept.append(replace(finding, severity=Severity(level.level)))
        kept.extend(
            self._no_longer_needed(it)
            for it in self.exceptions
            if it not in needed and it.rule not in {rule.value for rule in not_judged}
        )
        kept.sort(key=lambda finding: finding.severity is Severity.NOTE)
        return Outcome(kept, left_out)

    def _no_longer_needed(self, exemption: Exemption) -> Finding:
        file = shown(self.file) if self.file else None
        return Finding(
            Rule(exemption.rule),
            exemption.location or "*",
            f"the exception from `{exemption.rule}` for `{exemption.key}` is no longer needed: "
            "nothing is found that it is for.",
            f"Take it out of {file}.",
            key=exemption.key,
            file=file,
            severity=Severity.NOTE,
        )


def read_settings(workspace: Path) -> Settings:
    """Return the settings that hold for the workspace in this file or folder.

    Raises `SettingsError`, which names the file, the field and the fix.
    """
    place = workspace.resolve()
    for folder in (place, *place.parents):
        found = [
            (path, table)
            for path, table in (
                (folder / _OWN_FILE, _own_table(folder / _OWN_FILE)),
                (folder / _PROJECT_FILE, _project_table(folder / _PROJECT_FILE)),
            )
            if table is not None
        ]
        if len(found) == 2:
            raise SettingsError(
                f"{shown(found[0][0])} and [tool.freshline] in {shown(found[1][0])} are both "
                "settings of one workspace: keep one of them."
            )
        if found:
            return _settings(*found[0])
    return Settings()


def rule_named(name: str) -> Rule:
    """Return the rule of this name. Raises `SettingsError` with the name that was meant."""
    names = [rule.value for rule in Rule]
    if name in names:
        return Rule(name)
    meant = similar(name, names)
    raise SettingsError(
        f"{name!r} is no rule"
        + (f"; did you mean {meant}?" if meant else f"; the rules are {', '.join(names)}.")
    )


def _own_table(path: Path) -> Any:
    return _parsed(path) if path.is_file() else None


def _project_table(path: Path) -> Any:
    tools = _parsed(path).get("tool") if path.is_file() else None
    return tools.get("freshline") if isinstance(tools, Mapping) else None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{shown(path)}: {error.strerror}.") from None
    except ValueError as error:  # TOML that cannot be parsed, or bytes that are not UTF-8
        raise SettingsError(f"{shown(path)} is not TOML: {error}.") from None


def _settings(path: Path, table: Any) -> Settings:
    prefix = f"{shown(path)}: " + ("tool.freshline" if path.name == _PROJECT_FILE else "")
    try:
        content = _Content.model_validate(_with_levels(table))
    except ValidationError as error:
        raise SettingsError(_explained(error.errors()[0], prefix)) from None
    for number, exemption in enumerate(content.exceptions):
        _checked_rule(exemption.rule, _field(prefix, "exceptions", number, "rule"))
    rules = {
        _checked_rule(name, _field(prefix, "rules")): level for name, level in content.rules.items()
    }
    for rule, level in rules.items():
        _refuse_silence(rule, level, _field(prefix, "rules", rule.value))
    convention = None
    if content.convention is not None:
        convention = _convention(content.convention, path.parent, _field(prefix, "convention"))
    return Settings(path, convention, rules, content.exceptions, content.schemas)


def _with_levels(table: Any) -> Any:
    """Return the table with each rule as a mapping: a level alone is short for one."""
    rules = table.get("rules") if isinstance(table, Mapping) else None
    if not isinstance(rules, Mapping):
        return table
    short = {name: {"level": it} if isinstance(it, str) else it for name, it in rules.items()}
    return {**table, "rules": short}


def _checked_rule(name: str, where: str) -> Rule:
    try:
        return rule_named(name)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None


def _refuse_silence(rule: Rule, level: Level, where: str) -> None:
    if level.level != "off":
        return
    if rule is Rule.DOES_NOT_LOAD:
        raise SettingsError(
            f"{where}: what a location makes is not known if it does not load, so this is never "
            'off; write "note", or an exception for one location.'
        )
    if level.reason is None:
        raise SettingsError(
            f'{where}: a rule that is off needs a reason; write {{level = "off", reason = "..."}}.'
        )


def _convention(name: str, folder: Path, where: str) -> Convention:
    """Return the convention; a function is looked for in the folder of the settings first."""
    sys.path.insert(0, str(folder))
    try:
        return convention_of(name, where)
    except KeyConventionError as error:
        raise SettingsError(str(error)) from None
    finally:
        sys.path.remove(str(folder))


def _explained(error: ErrorDetails, prefix: str) -> str:
    where = _field(prefix, *error["loc"])
    kind, value = error["type"], error["input"]
    name = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "extra_forbidden":
        known = sorted(_fields_beside(error["loc"]))
        meant = similar(name, known)
        return f"{where}: no such setting; " + (
            f"did you mean {meant}?" if meant else f"there are {', '.join(known)}."
        )
    if kind == "missing":
        return f"{where}: is missing; " + (
            "say why, in a sentence." if name == "reason" else f"give the {name}."
        )
    if kind == "string_too_short":
        return f"{where}: is empty; write what it is."
    if name == "level":
        return f"{where}: {value!r} is no level; write one of {', '.join(_LEVELS)}."
    return f"{where}: {error['msg'].lower()}, not {value!r}."


def _fields_beside(location: tuple[int | str, ...]) -> Iterator[str]:
    """Yield the names of the settings that may stand where an unknown one stands."""
    table: type[_Table] = _Content
    if location[0] == "rules":
        table = Level
    elif location[0] == "exceptions":
        table = Exemption
    yield from table.model_fields


def _field(prefix: str, *names: int | str) -> str:
    """Return the file and the path of a setting, such as `pyproject.toml: tool.freshline.rules`."""
    path = ""
    for name in names:
        path += f"[{name + 1}]" if isinstance(name, int) else f".{name}"
    return prefix + (path if prefix.endswith("tool.freshline") else path.removeprefix("."))
