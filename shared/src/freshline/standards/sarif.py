"""The gate's findings in SARIF 2.1.0, which GitHub's code scanning and editors read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from freshline.check.explain import EXPLANATIONS, Explanation, explained
from freshline.check.finding import Finding, Rule, Severity

__all__ = ["sarif_log"]

_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT: Final = "SRCROOT"
"""The name of the current directory, to which the paths of files are relative."""

_NAME: Final = re.compile(r"`([^`]+)`")
"""A name in the message of a finding."""

_LEVELS: Final = {Severity.ERROR: "error", Severity.NOTE: "note"}

_NOTES: Final = (Rule.NOT_REQUESTED, Rule.NEWER_SCHEMA)
"""The rules that only find notes, by default."""


def sarif_log(
    findings: Iterable[Finding], left_out: Iterable[tuple[Finding, str]], fallback: Path | None
) -> dict[str, Any]:
    """Return the log as plain values.

    `left_out` are the findings that settings switch off, with the reasons: they are in the log as
    suppressed. `fallback` is the file that is named for a finding which is about none: code
    scanning leaves a result out that is nowhere. None: there is none.
    """
    rules = list(Rule)
    results = [
        *(_result(finding, rules, fallback) for finding in findings),
        *(
            _result(finding, rules, fallback) | {"suppressions": [_suppression(reason)]}
            for finding, reason in left_out
        ),
    ]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "freshline",
                        "version": version("freshline"),
                        "rules": [_rule(rule, EXPLANATIONS[rule]) for rule in rules],
                    }
                },
                "automationDetails": {"id": "freshline/check/"},
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": True}],
                "results": results,
            }
        ],
    }


def _rule(rule: Rule, text: Explanation) -> dict[str, Any]:
    mend = f"{text.mend}\n\n**Example**: {text.example}"
    return {
        "id": rule.value,
        "name": "".join(word.capitalize() for word in rule.value.split("-")),
        "shortDescription": {"text": _first_sentence(text.finds)},
        "fullDescription": {"text": f"{text.finds} {text.why}"},
        "help": {"text": explained(rule), "markdown": f"{text.finds}\n\n{text.why}\n\n{mend}"},
        "defaultConfiguration": {"level": "note" if rule in _NOTES else "error"},
    }


def _result(finding: Finding, rules: Sequence[Rule], fallback: Path | None) -> dict[str, Any]:
    lines = (finding.message, *finding.details, finding.fix)
    return {
        "ruleId": finding.rule.value,
        "ruleIndex": rules.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": "\n".join(line for line in lines if line)},
        "locations": [_location(finding, fallback)],
        "partialFingerprints": {"freshline/v1": _fingerprint(finding)},
        "properties": {"location": finding.location, "concerns": list(finding.concerns)},
    }


def _location(finding: Finding, fallback: Path | None) -> dict[str, Any]:
    """Return where a finding is: its file and line, as far as known, and its code location."""
    where: dict[str, Any] = {
        "logicalLocations": [
            {
                "name": finding.location,
                "kind": "module",
                **({"fullyQualifiedName": finding.key} if finding.key else {}),
            }
        ]
    }
    path = Path(finding.file) if finding.file else fallback
    if path is not None:
        line = _line_of(path, _names_in(finding)) if finding.file else None
        where["physicalLocation"] = {
            "artifactLocation": _artifact(path),
            **({"region": {"startLine": line}} if line else {}),
        }
    return where


def _artifact(path: Path) -> dict[str, str]:
    # A path outside the current directory is absolute.
    if path.is_absolute():
        return {"uri": path.as_uri()}
    return {"uri": quote(path.as_posix()), "uriBaseId": _ROOT}


def _line_of(path: Path, names: Iterable[str]) -> int | None:
    """Return the first line of a file with the first of `names` that it has; None: it has none."""
    lines = _lines(path)
    for name in names:
        word = re.compile(rf"(?<![\w/]){re.escape(name)}(?![\w/])")
        for number, line in enumerate(lines, 1):
            if word.search(line):
                return number
    return None


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return ()  # the finding may be that this file cannot be read


def _names_in(finding: Finding) -> Iterator[str]:
    """Yield the names that a file may have of what a finding is about, the most telling first.

    The message begins with what is wrong: a column, or an asset. A file that declares an asset
    often has the last part of its key alone.
    """
    told = dict.fromkeys([*_NAME.findall(finding.message), *filter(None, [finding.key])])
    names = [name for name in told if name not in (finding.location, *finding.concerns)]
    yield from names
    yield from (name.rpartition("/")[2] for name in names if "/" in name)


def _fingerprint(finding: Finding) -> str:
    """Return what stays the same if the finding is the same, although figures in it change."""
    names = _NAME.findall(finding.message)
    parts = [finding.rule.value, finding.location, finding.key or "", *names]
    return sha256("\0".join(parts).encode()).hexdigest()


def _suppression(reason: str) -> Mapping[str, str]:
    return {"kind": "external", "status": "accepted", "justification": reason}


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "."
