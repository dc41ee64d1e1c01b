"""The gate's rules over published contracts, for the asset checks on a location's contract."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from freshline.check.finding import Finding, Location, Rule, Severity, Workspace
from freshline.check.graph import check_cycles, check_makers
from freshline.check.imports import check_imports
from freshline.check.policies import check_policies
from freshline.contract.document import Contract
from freshline.model import Durations

__all__ = ["imports_satisfied", "policies_feasible"]


def imports_satisfied(
    contracts: Iterable[Contract],
    location: str,
    *,
    elsewhere: Collection[str] = (),
    replaced: Collection[str] = (),
) -> list[Finding]:
    """Return the errors about what `location` needs and no published contract provides.

    Errors about its assets that another location makes too, and about cycles through its assets,
    are among them. `elsewhere` are keys that somebody makes whom no contract names; `replaced` are
    silent locations whose assets another location makes now.
    """
    workspace = _workspace(contracts)
    found = [
        finding
        for finding in (
            *check_imports(workspace),
            *check_makers(workspace),
            *check_cycles(workspace),
        )
        if location in (finding.location, *finding.concerns)
    ]
    return [
        finding
        for finding in found
        if finding.severity is Severity.ERROR
        and not (finding.rule is Rule.UNKNOWN_IMPORT and finding.key in elsewhere)
        and not (finding.rule is Rule.MADE_TWICE and set(finding.concerns) & set(replaced))
    ]


def policies_feasible(
    contracts: Iterable[Contract],
    location: str,
    measured: Mapping[str, Durations] | None = None,
) -> list[Finding]:
    """Return the errors about policies of `location` that cannot be held.

    `measured` are durations by asset key.
    """
    found = check_policies(_workspace(contracts), measured)
    return [
        finding
        for finding in found
        if finding.location == location and finding.severity is Severity.ERROR
    ]


def _workspace(contracts: Iterable[Contract]) -> Workspace:
    ordered = sorted(contracts, key=lambda contract: contract.location)
    return Workspace([Location(contract.location, contract) for contract in ordered])
