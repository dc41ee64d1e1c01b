"""The gate's rules over published contracts, for the asset checks on each location's contract."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from freshline.check.finding import Finding, Location, Rule, Severity, Workspace
from freshline.check.graph import check_cycles, check_makers
from freshline.check.imports import check_imports
from freshline.check.policies import check_policies
from freshline.contract.document import Contract
from freshline.model import Durations

__all__ = ["RuntimeFindings", "runtime_findings"]


class RuntimeFindings(NamedTuple):
    """What is wrong with the contract of one location."""

    imports: Sequence[Finding] = ()
    """The errors about what the location needs and no published contract provides, about its assets
    that another location makes too, and about cycles through its assets."""
    policies: Sequence[Finding] = ()
    """The errors about its policies that cannot be held."""


def runtime_findings(
    contracts: Iterable[Contract],
    measured: Mapping[str, Durations] | None = None,
    *,
    elsewhere: Collection[str] = (),
    replaced: Collection[str] = (),
) -> dict[str, RuntimeFindings]:
    """Return what is wrong with each of `contracts`, by location.

    `measured` are durations by asset key; `elsewhere` are keys that somebody makes whom no contract
    names; `replaced` are silent locations whose assets another location makes now.
    """
    ordered = sorted(contracts, key=lambda contract: contract.location)
    workspace = Workspace([Location(contract.location, contract) for contract in ordered])
    imports = [
        finding
        for finding in (
            *check_imports(workspace),
            *check_makers(workspace),
            *check_cycles(workspace),
        )
        if finding.severity is Severity.ERROR
        and not (finding.rule is Rule.UNKNOWN_IMPORT and finding.key in elsewhere)
        and not (finding.rule is Rule.MADE_TWICE and set(finding.concerns) & set(replaced))
    ]
    policies = [
        finding
        for finding in check_policies(workspace, measured)
        if finding.severity is Severity.ERROR
    ]
    return {
        it.location: RuntimeFindings(
            [one for one in imports if it.location in (one.location, *one.concerns)],
            [one for one in policies if one.location == it.location],
        )
        for it in ordered
    }
