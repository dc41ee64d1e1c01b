"""The rule for views on the tables of other locations, which a rebuild of the table drops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from freshline.check.finding import Finding, Rule, Workspace
from freshline.contract import Export
from freshline.contract.dialects import dialect_of

__all__ = ["check_views"]

_VIEWS: Final = frozenset({"view", "materialized_view"})
_REBUILT: Final = frozenset({"table", "view"})
"""The materializations that dbt replaces at each run, by dropping the old one with `cascade`."""

_CASCADING: Final = frozenset({"postgres", "redshift"})
"""The engines in which dropping a table drops the views on it."""


def check_views(workspace: Workspace) -> Iterator[Finding]:
    """Find dbt views on what another location's dbt rebuilds, where both say so by their kinds."""
    for location in workspace.locations:
        for export in location.contract.exports if location.contract else ():
            if not _is_of_dbt(export, _VIEWS):
                continue
            for key in export.deps:
                found = workspace.export(key)
                if found is None or found[0].name == location.name:
                    continue
                maker, table = found
                if _is_of_dbt(table, _REBUILT):
                    yield Finding(
                        Rule.FOREIGN_VIEW,
                        location.name,
                        f"`{export.key}` of `{location.name}` is a view on `{key}`, which "
                        f"`{maker.name}` rebuilds: dbt then drops the old table, and the view "
                        "with it.",
                        f"Make `{export.key}` a table.",
                        key=export.key,
                        file=location.file_of(export),
                        concerns=(maker.name, location.name),
                    )


def _is_of_dbt(export: Export, materializations: frozenset[str]) -> bool:
    kinds = {kind.lower() for kind in export.kinds}
    return (
        "dbt" in kinds
        and not kinds.isdisjoint(materializations)
        and any(dialect_of(kind) in _CASCADING for kind in kinds)
    )
