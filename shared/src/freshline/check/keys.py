"""Rules for keys that break the convention, and for locations that have two names."""

from __future__ import annotations

from collections.abc import Iterator

from freshline.check.finding import Finding, Rule, Workspace
from freshline.keys import conventional_name, key_problem

__all__ = ["check_keys"]


def check_keys(workspace: Workspace) -> Iterator[Finding]:
    """Find keys that the convention cannot express, and locations that publish by another name.

    Locations that do not use freshline are left out: the convention is not theirs.
    """
    for location in workspace.locations:
        contract = location.contract
        if contract is None or contract.published_as is None:
            continue
        if contract.published_as != location.name:
            yield Finding(
                Rule.KEY_CONVENTION,
                location.name,
                f"the workspace calls the location `{location.name}`, but it publishes its "
                f"contract as `{contract.published_as}`.",
                "Give both the same name: location_name in workspace.yaml, location= in the "
                "location's definitions.",
                file=location.file_of(None),
            )
        for export in contract.exports:
            parts = export.key.split("/")
            problem = key_problem(parts)
            if problem:
                better = [conventional_name(part) for part in parts]
                file = location.file_of(export)
                yield Finding(
                    Rule.KEY_CONVENTION,
                    location.name,
                    f"`{export.key}` of `{location.name}` {problem}.",
                    (f"In {file}, name" if file else "Name")
                    + (
                        f" it `{'/'.join(better)}`."
                        if len(better) == 2 and all(better)
                        else " it [layer, table]: the logical schema, then the table."
                    ),
                    key=export.key,
                    file=file,
                )
