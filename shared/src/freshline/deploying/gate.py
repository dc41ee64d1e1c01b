"""Judges a release by what is published: what would it break, and what would it change?

The other locations count as they are deployed, not as their code is in some checkout. What is wrong
already, and would be no worse, stops no deploy: it may be the one that mends it in part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from dagster import DagsterInstance

from freshline.check import Finding, Location, Rule, Severity, Workspace, findings
from freshline.compare.changes import changes
from freshline.contract.document import Contract
from freshline.impact.consumers import consumers
from freshline.impact.since import Reached
from freshline.sensor.outlook import Observer, Outlook
from freshline.settings import Settings
from freshline.workspace.runner import Inspected

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True)
class Judgement:
    """What a deploy would do to the other locations."""

    locations: tuple[Location, ...]
    """All that were judged, with the release in its place."""
    findings: tuple[Finding, ...]
    """What it would break; empty: it may be deployed."""
    left_out: tuple[tuple[Finding, str], ...]
    """What it would break and the settings allow, with their reasons."""
    reached: tuple[Reached, ...]
    """What it would change, and whom that reaches."""
    is_first: bool
    """Whether the location has published nothing before, so that nothing can be compared."""


def judge(instance: DagsterInstance, release: Inspected, settings: Settings) -> Judgement:
    """Judge the `release` by the contracts in `instance`.

    Raises what the instance's storage raises.
    """
    name, now = release.entry.name, time.time()
    before = Observer().look(instance, now)
    published = before.contract(name)
    own = Location(
        name,
        release.contract,
        error=release.error,
        traceback=release.traceback,
        # What readers rely on by now: a column that it had and has no longer is gone.
        committed=published,
        folder=release.entry.folder,
    )
    after = Observer().look(instance, now, own=release.contract) if release.contract else before
    known = {_identity(it) for it in _errors(before, _locations(before))}
    locations = _locations(after, own)
    new = [it for it in _errors(after, locations) if _identity(it) not in known]
    outcome = settings.applied_to(new, not_judged=list(Rule))
    return Judgement(
        tuple(locations),
        tuple(it for it in outcome.findings if it.severity is Severity.ERROR),
        tuple(outcome.left_out),
        tuple(_reached(published, release.contract, after)),
        is_first=published is None,
    )


def _locations(outlook: Outlook, own: Location | None = None) -> list[Location]:
    """Return the locations that have published a contract, with `own` in its place."""
    others = [
        Location(it.location, it)
        for it in outlook.contracts
        if own is None or it.location != own.name
    ]
    return [*([own] if own else []), *others]


def _errors(outlook: Outlook, locations: list[Location]) -> Iterator[Finding]:
    """Yield what is wrong with the locations, as far as a deploy can be stopped for it."""
    measured = {key: state.durations for key, state in outlook.snapshot.assets.items()}
    elsewhere = {key for key, asset in outlook.graph.assets.items() if asset.elsewhere}
    for finding in findings(Workspace(locations), measured):
        # A file is for reviews. Somebody makes what no contract explains, or makes it now.
        excused = (
            finding.rule is Rule.STALE_CONTRACT
            or (finding.rule is Rule.UNKNOWN_IMPORT and finding.key in elsewhere)
            or (finding.rule is Rule.MADE_TWICE and set(finding.concerns) & set(outlook.replaced))
        )
        if finding.severity is Severity.ERROR and not excused:
            yield finding


def _identity(finding: Finding) -> tuple[str | None, ...]:
    """Return what two findings about the same thing have in common."""
    # The words about a policy have durations, which differ from one time to the next.
    text = None if finding.rule is Rule.POLICY else finding.message
    return finding.rule.value, finding.location, finding.key, text


def _reached(
    published: Contract | None, contract: Contract | None, after: Outlook
) -> Iterator[Reached]:
    if published is None or contract is None:
        return
    for change in changes(published, contract):
        reached = consumers(after.contracts, change.key, change.column)
        yield Reached(contract.location, change, tuple(reached))
