"""Rules for assets that some policy needs and that freshline never requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from freshline.check.finding import Finding, Location, Rule, Severity, Workspace
from freshline.contract.document import Export
from freshline.words import quoted

__all__ = ["check_requests"]

_SHOWN: Final = 3
"""At most this many targets that need an asset are named."""

_UNREPORTED: Final = (
    " If nobody reports them to Dagster, what needs it waits for ever: declare it with "
    "`freshline/outside` (on a dbt source: `config: {meta: {freshline: {outside: true}}}`), and "
    "nothing waits for it."
)


def check_requests(workspace: Workspace) -> Iterator[Finding]:
    """Find what a policy needs and Dagster cannot launch; note what somebody else has to start."""
    graph = workspace.lineage.graph
    for location in sorted(graph.observers):
        yield Finding(
            Rule.NOT_REQUESTED,
            location,
            f"`{location}` only observes: its policies are watched, and nothing is requested.",
            'Take mode="observe" off when its assets are to be kept fresh.',
            severity=Severity.NOTE,
        )
    for key, targets in _needed_but_never_requested(workspace).items():
        asset = graph.assets[key]
        made = workspace.export(key)
        file = made[0].file_of(made[1]) if made else None
        needed = f"{quoted(targets)} {'needs' if len(targets) == 1 else 'need'} it"
        readers = tuple(sorted({graph.assets[target].location for target in targets}))
        if made and _is_unlaunchable(*made):
            yield Finding(
                Rule.UNLAUNCHABLE,
                asset.location,
                f"`{key}` of `{asset.location}` cannot be requested, and {needed}: Dagster says "
                f'"{made[1].unlaunchable}"',
                'Give the config a default, or bring it with metadata {"freshline/config": '
                "{...}} on the asset.",
                key=key,
                file=file,
                concerns=tuple(sorted({asset.location, *readers})),
            )
        else:
            yield Finding(
                Rule.NOT_REQUESTED,
                readers[0],
                f"`{key}` is never requested, and {needed}: {asset.never_requested}.",
                "Its versions count, whoever makes them: something else has to start it often "
                "enough." + (_UNREPORTED if asset.elsewhere else ""),
                key=key,
                file=file,
                severity=Severity.NOTE,
                concerns=readers,
            )


def _is_unlaunchable(location: Location, export: Export) -> bool:
    """Return whether Dagster's refusal is why an asset is never requested.

    A location without freshline starts its assets itself, and knows the config that they need.
    """
    under_freshline = location.contract is not None and location.contract.published_as is not None
    return under_freshline and export.unlaunchable is not None and not export.unfollowed


def _is_unfollowed(workspace: Workspace, key: str) -> bool:
    made = workspace.export(key)
    return made is not None and made[1].unfollowed is not None


def _needed_but_never_requested(workspace: Workspace) -> Mapping[str, tuple[str, ...]]:
    """Return each such asset with the first `_SHOWN` targets that need it, both sorted by key.

    One pass from the targets to the roots. Nothing is requested for the sake of such an asset, so
    it is not looked beyond.
    """
    lineage = workspace.lineage
    needed_by = {target: {target} for target in lineage.policies}
    found: dict[str, tuple[str, ...]] = {}
    for execution_set in reversed(lineage.execution_sets):
        for key in execution_set.keys:
            targets = needed_by.pop(key, None)
            if not targets:
                continue
            asset = lineage.graph.assets[key]
            if asset.elsewhere or _is_unfollowed(workspace, key):
                # Its own policy is to be watched and requests nothing, or is a finding by itself.
                targets.discard(key)
            first = sorted(targets)[:_SHOWN]
            if asset.never_requested:
                if first:
                    found[key] = tuple(first)
                continue
            for dep in lineage.inputs[key]:
                needed_by.setdefault(dep, set()).update(first)
    return dict(sorted(found.items()))
