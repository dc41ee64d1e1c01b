"""The gate at run time: asset checks on a location's contract, over all published contracts."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    MetadataValue,
    asset_check,
)

from freshline.check.finding import Finding
from freshline.check.runtime import imports_satisfied, policies_feasible
from freshline.contract import Contract, contract_asset_key, read_contracts
from freshline.model import Durations

__all__ = ["contract_checks", "contract_evaluations"]

IMPORTS: Final = "imports_satisfied"
POLICIES: Final = "policies_feasible"

_DESCRIPTIONS: Final = {
    IMPORTS: "Other locations make what this one needs, with the columns that it uses.",
    POLICIES: "The path to every target of this location is shorter than its maximum lag.",
}
# What is not made is broken; what cannot be held is for somebody to decide.
_SEVERITIES: Final = {IMPORTS: AssetCheckSeverity.ERROR, POLICIES: AssetCheckSeverity.WARN}


def contract_evaluations(
    contracts: Iterable[Contract], location: str, measured: Mapping[str, Durations]
) -> Iterator[AssetCheckEvaluation]:
    """The events that record how `location` stands with the others, outside any run."""
    for name, findings in _findings(list(contracts), location, measured).items():
        yield AssetCheckEvaluation(
            asset_key=contract_asset_key(location),
            check_name=name,
            passed=not findings,
            severity=_SEVERITIES[name],
            description=_summary(findings),
            metadata=_metadata(findings),
        )


def contract_checks(location: str) -> list[AssetChecksDefinition]:
    """The definitions of the checks. Run by hand, they look themselves, without durations."""
    return [_check(location, name) for name in (IMPORTS, POLICIES)]


def _check(location: str, name: str) -> AssetChecksDefinition:
    @asset_check(asset=contract_asset_key(location), name=name, description=_DESCRIPTIONS[name])
    def check(context: AssetCheckExecutionContext) -> AssetCheckResult:
        published = read_contracts(context.instance).values()
        contracts = [contract.contract for contract in published]
        findings = _findings(contracts, location, {})[name]
        return AssetCheckResult(
            passed=not findings,
            severity=_SEVERITIES[name],
            description=_summary(findings),
            metadata=_metadata(findings),
        )

    return check


def _findings(
    contracts: Sequence[Contract], location: str, measured: Mapping[str, Durations]
) -> dict[str, list[Finding]]:
    return {
        IMPORTS: imports_satisfied(contracts, location),
        POLICIES: policies_feasible(contracts, location, measured),
    }


def _summary(findings: Sequence[Finding]) -> str | None:
    if not findings:
        return None
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return findings[0].message + more


def _metadata(findings: Sequence[Finding]) -> dict[str, Any]:
    told = [f"- {finding.message} {finding.fix}".rstrip() for finding in findings]
    listed = {"freshline/findings": MetadataValue.md("\n".join(told))} if told else {}
    return {"freshline/findings_count": len(findings), **listed}
