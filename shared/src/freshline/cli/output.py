"""Prints findings, tables and contracts: for people, as JSON, as SARIF, or for GitHub."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from freshline.check.finding import Finding, Location, Severity
from freshline.cli.console import console

if TYPE_CHECKING:
    from freshline.contract.document import Contract
    from freshline.impact.consumers import Consumer
    from freshline.impact.since import Reached

__all__ = [
    "print_changes",
    "print_consumers",
    "print_contract",
    "print_findings",
    "print_github",
    "print_json",
    "print_sarif",
    "print_table",
    "summary",
]

LeftOut: TypeAlias = Sequence[tuple[Finding, str]]
"""The findings that settings switch off, with the reasons."""


def print_findings(
    findings: Sequence[Finding], locations: Sequence[Location], left_out: LeftOut = ()
) -> None:
    """Print a table of the findings, and one line that sums up."""
    rows = []
    for finding in findings:
        color = "red" if finding.severity is Severity.ERROR else "yellow"
        text = [_with_bold_names(finding.message)]
        text.extend(f"[dim]  {_escaped(line)}[/]" for line in finding.details)
        if finding.fix:
            text.append(f"[green]{_with_bold_names(finding.fix, 'green')}[/]")
        if finding.file:
            text.append(f"[dim]{_escaped(finding.file)}[/]")
        rows.append((f"[{color}]{finding.rule.value}[/]", finding.location, "\n".join(text)))
    if rows:
        print_table(("rule", "location", "what, and what to do"), rows)
    bad = any(finding.severity is Severity.ERROR for finding in findings)
    line = summary(findings, locations, left_out)
    console().print(f"[bold {'red' if bad else 'green'}]{line}[/]")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with rich markup in its cells; the last column takes the rest of the width."""
    from rich.box import HORIZONTALS
    from rich.table import Table

    table = Table(box=HORIZONTALS, show_lines=True, show_edge=False)
    for number, heading in enumerate(headings, 1):
        last = number == len(headings)
        table.add_column(heading, overflow="fold", no_wrap=False, ratio=1 if last else None)
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_contract(contract: Contract) -> None:
    """Print what a location makes and what it needs, as two tables."""
    page = console()
    page.print(f"[bold]{_escaped(contract.location)}[/] (Dagster {contract.dagster_version})")
    print_table(
        ("makes", "owners", "policy", "columns"),
        [
            (
                export.key,
                ", ".join(export.owners) or "-",
                str(export.policy or "-"),
                _escaped(_column_list([(it.name, it.type) for it in export.columns or ()])),
            )
            for export in contract.exports
        ],
    )
    if contract.imports:
        print_table(
            ("needs", "for", "columns"),
            [
                (
                    needed.key,
                    ", ".join(needed.used_by),
                    _escaped(_column_list([(it.name, it.type) for it in needed.columns])),
                )
                for needed in contract.imports
            ],
        )


def _column_list(columns: Iterable[tuple[str, str | None]]) -> str:
    return ", ".join(f"{name} {kind}" if kind else name for name, kind in columns) or "-"


def print_changes(reached: Sequence[Reached], since: str, *, nothing: str) -> None:
    """Print the breaking changes with those whom they reach, then the harmless ones.

    `since` says what is compared with, and `nothing` is printed if nothing has changed.
    """
    if not reached:
        sys.stdout.write(f"{nothing}\n")
    for breaking in (True, False):
        chosen = [it for it in reached if it.change.breaking is breaking]
        if chosen:
            sys.stdout.write(f"{'Breaking' if breaking else 'Harmless'} {since}:\n")
        for it in chosen:
            sys.stdout.write(f"  {it.location}: `{it.change.key}`: {it.change.text}\n")
            if breaking and it.consumers:
                print_consumers(it.consumers)
            elif breaking:
                sys.stdout.write("    nothing depends on it\n\n")


def print_consumers(reached: Sequence[Consumer]) -> None:
    """Print a table of the assets that a change reaches."""
    print_table(
        ("location", "asset", "owners", "policy", "how"),
        [
            (it.location, it.key, ", ".join(it.owners) or "-", str(it.policy or "-"), it.how)
            for it in reached
        ],
    )


def print_json(
    findings: Sequence[Finding], locations: Sequence[Location], left_out: LeftOut = ()
) -> None:
    """Print one JSON object: the findings, those left out, and the locations that were judged."""
    document: dict[str, Any] = {
        "clean": not any(finding.severity is Severity.ERROR for finding in findings),
        "summary": summary(findings, locations, left_out),
        "locations": [
            {
                "name": location.name,
                "known": location.contract is not None,
                "error": location.error,
                "exports": len(location.contract.exports) if location.contract else None,
                "imports": len(location.contract.imports) if location.contract else None,
            }
            for location in locations
        ],
        "findings": [_finding(finding) for finding in findings],
        "left_out": [{**_finding(finding), "reason": reason} for finding, reason in left_out],
    }
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule.value,
        "severity": finding.severity.value,
        "location": finding.location,
        "concerns": list(finding.concerns),
        "key": finding.key,
        "message": finding.message,
        "fix": finding.fix,
        "details": list(finding.details),
        "file": finding.file,
    }


def print_github(
    findings: Sequence[Finding], locations: Sequence[Location], left_out: LeftOut = ()
) -> None:
    """Print workflow commands, which GitHub shows beside the files of a pull request."""
    for finding in findings:
        level = "error" if finding.severity is Severity.ERROR else "warning"
        title = f"{finding.rule.value}: {finding.location}"
        place = f"file={_github_property(finding.file)}," if finding.file else ""
        text = "\n".join(part for part in (finding.message, *finding.details, finding.fix) if part)
        sys.stdout.write(
            f"::{level} {place}title={_github_property(title)}::{_github_data(text)}\n"
        )
    sys.stdout.write(summary(findings, locations, left_out) + "\n")


def print_sarif(findings: Sequence[Finding], left_out: LeftOut, fallback: Path | None) -> None:
    """Print the findings, and those left out, as a SARIF log; see `sarif_log`."""
    from freshline.standards import sarif_log

    log = sarif_log(findings, left_out, fallback)
    sys.stdout.write(json.dumps(log, indent=2, ensure_ascii=False) + "\n")


def summary(
    findings: Sequence[Finding], locations: Sequence[Location], left_out: LeftOut = ()
) -> str:
    """Return one line: how many findings and notes there are, in how many locations and assets."""
    bad = sum(finding.severity is Severity.ERROR for finding in findings)
    known = [location.contract for location in locations if location.contract]
    looked_at = (
        f"{_count(len(locations), 'location')}, "
        f"{_count(sum(len(contract.exports) for contract in known), 'asset')}, "
        f"{_count(sum(len(contract.imports) for contract in known), 'import')}"
    )
    notes = f", {_count(len(findings) - bad, 'note')}" if len(findings) > bad else ""
    without = f" {_count(len(left_out), 'finding')} left out by settings." if left_out else ""
    return f"{_count(bad, 'finding') if bad else 'No findings'}{notes} ({looked_at}).{without}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _with_bold_names(text: str, style: str = "") -> str:
    """Return the text with names in backticks bold. Backticks stay, so that copies have them."""
    return re.sub(r"`[^`]*`", rf"[bold {style}]\g<0>[/]", _escaped(text))


def _github_data(text: str) -> str:
    """Return text escaped for the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _github_property(text: str) -> str:
    """Return text escaped for a property of a workflow command."""
    return _github_data(text).replace(":", "%3A").replace(",", "%2C")
