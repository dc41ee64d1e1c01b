"""Rules for keys that break the convention, and for locations that have two names."""

from __future__ import annotations

from collections.abc import Iterator

from freshline.check.finding import Finding, Location, Rule, Workspace
from freshline.contract.document import Contract
from freshline.keys import Convention, better_key, key_problem, shape

__all__ = ["check_keys"]


def check_keys(workspace: Workspace) -> Iterator[Finding]:
    """Find keys that break the workspace's convention, and locations that publish by another name.

    Keys are judged only if the settings of the workspace ask for a convention. Locations that do
    not use freshline are left out: the convention is not theirs.
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
        if workspace.convention is not None:
            yield from _check_exports(location, contract, workspace.convention)


def _check_exports(
    location: Location, contract: Contract, convention: Convention
) -> Iterator[Finding]:
    for export in contract.exports:
        parts = export.key.split("/")
        # Whoever makes what is only observed here has named it.
        problem = None if export.observed else key_problem(parts, convention)
        if problem:
            better = better_key(parts, convention)
            file = location.file_of(export)
            yield Finding(
                Rule.KEY_CONVENTION,
                location.name,
                f"`{export.key}` of `{location.name}` {problem}.",
                (f"In {file}, name" if file else "Name")
                + (f" it `{'/'.join(better)}`." if better else f" it {shape(convention)}."),
                key=export.key,
                file=file,
            )
