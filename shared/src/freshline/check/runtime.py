"""The gate's rules over published contracts, for the asset checks on a location's contract."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from freshline.check.finding import Finding, Location, Rule, Severity, Workspace
from freshline.check.graph import check_cycles, check_makers
from freshline.check.imports import check_imports
from freshline.check.policies import check_policies
from freshline.contract.document import Contract
from freshline.model import Durations

__all__ = ["RuntimeFindings", "imports_satisfied", "policies_feasible", "runtime_findings"]


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
    return _concerning(location, _import_errors(workspace, elsewhere, replaced))


def policies_feasible(
    contracts: Iterable[Contract],
    location: str,
    measured: Mapping[str, Durations] | None = None,
) -> list[Finding]:
    """Return the errors about policies of `location` that cannot be held.

    `measured` are durations by asset key.
    """
    return _of(location, _policy_errors(_workspace(contracts), measured))


class RuntimeFindings(NamedTuple):
    """What both checks on the contract of a location find."""

    imports: list[Finding]
    policies: list[Finding]


def runtime_findings(
    contracts: Iterable[Contract],
    measured: Mapping[str, Durations] | None = None,
    *,
    elsewhere: Collection[str] = (),
    replaced: Collection[str] = (),
) -> dict[str, RuntimeFindings]:
    """Return what the two functions above return, for every location, with one look at all rules.

    The arguments are theirs.
    """
    workspace = _workspace(contracts)
    imports = _import_errors(workspace, elsewhere, replaced)
    policies = _policy_errors(workspace, measured)
    return {
        it.name: RuntimeFindings(_concerning(it.name, imports), _of(it.name, policies))
        for it in workspace.locations
    }


def _import_errors(
    workspace: Workspace, elsewhere: Collection[str], replaced: Collection[str]
) -> list[Finding]:
    return [
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


def _policy_errors(workspace: Workspace, measured: Mapping[str, Durations] | None) -> list[Finding]:
    found = check_policies(workspace, measured)
    return [finding for finding in found if finding.severity is Severity.ERROR]


def _concerning(location: str, found: Iterable[Finding]) -> list[Finding]:
    return [it for it in found if location in (it.location, *it.concerns)]


def _of(location: str, found: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.location == location]


def _workspace(contracts: Iterable[Contract]) -> Workspace:
    ordered = sorted(contracts, key=lambda contract: contract.location)
    return Workspace([Location(contract.location, contract) for contract in ordered])
