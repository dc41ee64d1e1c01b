"""The gate before a deploy: do the contracts of all locations fit together? All rules run here.

Each module holds the rules of one subject. `finding.Rule` lists the rules, and `findings`, below,
applies them all: a new one is added to both. `gather` reads what they judge. At run time, some of
the rules are asset checks on the contract of each location: see `runtime`.
"""

from __future__ import annotations

from collections.abc import Mapping

from freshline.check.committed import check_committed, check_loading, check_schema
from freshline.check.finding import Finding, Location, Rule, Severity, Workspace
from freshline.check.graph import check_cycles, check_makers
from freshline.check.imports import check_imports
from freshline.check.keys import check_keys
from freshline.check.policies import check_policies
from freshline.check.requests import check_requests
from freshline.check.runtime import RuntimeFindings, runtime_findings
from freshline.check.views import check_views
from freshline.model import Durations

__all__ = [
    "Finding",
    "Location",
    "Rule",
    "RuntimeFindings",
    "Severity",
    "Workspace",
    "findings",
    "runtime_findings",
]


def findings(
    workspace: Workspace, measured: Mapping[str, Durations] | None = None
) -> list[Finding]:
    """Return all that is wrong or worth knowing; errors come before notes."""
    imports = list(check_imports(workspace))
    broken = {it.key for it in imports if it.severity is Severity.ERROR}
    found = [
        *check_loading(workspace),
        *imports,
        *check_makers(workspace),
        *check_cycles(workspace),
        *check_policies(workspace, measured),
        *(it for it in check_requests(workspace) if it.key not in broken),
        *check_views(workspace),
        *check_committed(workspace),
        *check_schema(workspace),
        *check_keys(workspace),
    ]
    order = list(Rule)
    return sorted(
        found,
        key=lambda it: (
            it.severity is Severity.NOTE,
            order.index(it.rule),
            it.location,
            it.key or "",
            it.message,
        ),
    )
