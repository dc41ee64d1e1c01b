"""The gate at run time: checks of a location's contract against all published contracts."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    MetadataValue,
    TableColumn,
    TableRecord,
    TableSchema,
    asset_check,
)

from freshline.check.finding import Finding
from freshline.check.runtime import RuntimeFindings, runtime_findings
from freshline.contract import contract_asset_key
from freshline.contract.tables import MOST_ROWS, owner_names
from freshline.names import FINDINGS, FINDINGS_COUNT, IMPORTS_CHECK, NEEDS, POLICIES_CHECK
from freshline.sensor.outlook import Observer, Outlook
from freshline.sensor.record import recorded

__all__ = [
    "basis_of_findings",
    "contract_checks",
    "contract_evaluations",
    "contract_findings",
]

_DESCRIPTIONS: Final = {
    IMPORTS_CHECK: "Other locations make what this one needs, with the columns that it uses.",
    POLICIES_CHECK: "The path to every target of this location is shorter than its maximum lag.",
}
# A missing import breaks runs. A policy that cannot be held breaks nothing: somebody has to decide.
_SEVERITIES: Final = {
    IMPORTS_CHECK: AssetCheckSeverity.ERROR,
    POLICIES_CHECK: AssetCheckSeverity.WARN,
}

_NEEDED: Final = ("asset", "made by", "owners", "read by")


def contract_evaluations(outlook: Outlook, location: str) -> Iterator[AssetCheckEvaluation]:
    """Yield the events that record the checks of the contract of `location` outside any run."""
    for name, findings in _findings(outlook, location).items():
        result = _result(name, findings, outlook, location)
        yield recorded(contract_asset_key(location), name, result)


def contract_checks(location: str) -> list[AssetChecksDefinition]:
    """Return the checks on the contract of `location`. Run by hand, they read the instance."""
    return [_check(location, name) for name in (IMPORTS_CHECK, POLICIES_CHECK)]


def contract_findings(outlook: Outlook) -> dict[str, RuntimeFindings]:
    """Return what the checks find in the contract of every location."""
    return runtime_findings(
        outlook.contracts,
        {key: state.durations for key, state in outlook.snapshot.assets.items()},
        elsewhere={key for key, asset in outlook.graph.assets.items() if asset.elsewhere},
        replaced=outlook.replaced,
    )


def basis_of_findings(outlook: Outlook, location: str | None = None) -> str:
    """Return what the checks of `location` depend on, as text; None: those of all locations.

    That is: the contracts, whether every asset was measured, and which of the policies are shorter
    than their paths.
    """
    snapshot = outlook.snapshot
    measured = all(snapshot.state(key).durations.execution for key in outlook.plan.assets)
    short = sorted(
        target.key
        for target in outlook.plan.targets.values()
        if location in (None, target.location) and (target.shortest or 0.0) > target.maximum
    )
    return " ".join([outlook.digest, "measured" if measured else "estimated", *short])


def _check(location: str, name: str) -> AssetChecksDefinition:
    @asset_check(asset=contract_asset_key(location), name=name, description=_DESCRIPTIONS[name])
    def check(context: AssetCheckExecutionContext) -> AssetCheckResult:
        outlook = Observer().look(context.instance, time.time())
        return _result(name, _findings(outlook, location)[name], outlook, location)

    return check


def _result(
    name: str, findings: Sequence[Finding], outlook: Outlook, location: str
) -> AssetCheckResult:
    needs = _needs(outlook, location) if name == IMPORTS_CHECK else {}
    return AssetCheckResult(
        passed=not findings,
        severity=_SEVERITIES[name],
        description=_summary(findings),
        metadata={**_metadata(findings), **needs},
    )


def _findings(outlook: Outlook, location: str) -> dict[str, Sequence[Finding]]:
    found = contract_findings(outlook).get(location, RuntimeFindings())
    return {IMPORTS_CHECK: found.imports, POLICIES_CHECK: found.policies}


def _summary(findings: Sequence[Finding]) -> str | None:
    if not findings:
        return None
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return findings[0].message + more


def _metadata(findings: Sequence[Finding]) -> dict[str, Any]:
    lines = [f"- {finding.message} {finding.fix}".rstrip() for finding in findings]
    listed = {FINDINGS: MetadataValue.md("\n".join(lines))} if lines else {}
    return {FINDINGS_COUNT: len(findings), **listed}


def _needs(outlook: Outlook, location: str) -> dict[str, Any]:
    """Return a table of what the location needs of others: who makes it, and whose it is."""
    contract = outlook.contract(location)
    needed = contract.imports if contract else ()
    exports = [(other.location, export) for other in outlook.contracts for export in other.exports]
    # Who makes an asset counts before who observes it.
    exports.sort(key=lambda it: not it[1].observed)
    made = {export.key: (maker, export) for maker, export in exports}
    records = []
    for each in needed[:MOST_ROWS]:
        maker, export = made.get(each.key, ("", None))
        owners = owner_names(export.owners if export else ())
        cells = each.key, maker or "nobody who publishes", owners, ", ".join(each.used_by)
        records.append(TableRecord(dict(zip(_NEEDED, cells, strict=True))))
    if not records:
        return {}
    schema = TableSchema([TableColumn(name) for name in _NEEDED])
    return {NEEDS: MetadataValue.table(records, schema)}
