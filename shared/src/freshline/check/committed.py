"""Rules for committed contracts (stale, missing, newer schema) and for code that does not load."""

from __future__ import annotations

from collections.abc import Iterator

from freshline.check.finding import Finding, Location, Rule, Severity, Workspace, shown
from freshline.compare.changes import changes
from freshline.contract.document import SCHEMA_VERSION, Contract, Export, Import

__all__ = ["check_committed", "check_loading", "check_schema", "differences"]

_SHOWN = 12
"""At most this many differences are listed; the others are counted."""


def check_loading(workspace: Workspace) -> Iterator[Finding]:
    """Find locations whose code or file could not be read."""
    for location in workspace.locations:
        if location.error:
            judged = (
                " It is judged by its committed contract."
                if location.contract
                else " What it makes and needs is not known."
            )
            yield Finding(
                Rule.DOES_NOT_LOAD,
                location.name,
                f"`{location.name}` cannot be asked: {location.error}.{judged}",
                details=location.traceback,
                file=location.file_of(None),
            )


def check_committed(workspace: Workspace) -> Iterator[Finding]:
    """Find committed contracts that differ from the code, or are missing."""
    for location in workspace.locations:
        if location.error or not location.contract:
            continue
        if not location.committed:
            yield from _missing_file(location, location.contract)
            continue
        found = differences(location.committed, location.contract)
        if found:
            more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            file = shown(location.contract_file) if location.contract_file else "its contract"
            yield Finding(
                Rule.STALE_CONTRACT,
                location.name,
                f"{file} no longer matches the code of `{location.name}`: {_count(found)}.",
                f"Run `freshline contract write {location.name}` and commit the file.",
                details=(*found[:_SHOWN], *more),
                file=file,
            )
        elif location.committed.dagster_version != location.contract.dagster_version:
            yield _other_dagster(location, location.committed, location.contract)


def check_schema(workspace: Workspace) -> Iterator[Finding]:
    """Find contracts that a newer freshline wrote."""
    for location in workspace.locations:
        newer = [it for it in (location.contract, location.committed) if it and it.newer]
        if newer:
            yield Finding(
                Rule.NEWER_SCHEMA,
                location.name,
                f"the contract of `{location.name}` has schema {newer[0].schema_version}, this "
                f"freshline knows {SCHEMA_VERSION}: keys, dependencies, columns and policies as "
                "known here are checked, what the newer schema adds is not.",
                "Upgrade freshline where the gate runs.",
                file=location.file_of(None),
                severity=Severity.NOTE,
            )


def differences(committed: Contract, current: Contract) -> list[str]:
    """Return a line for each difference, except versions of Dagster, the code and the schema."""
    found = [f"`{change.key}`: {change.text}" for change in changes(committed, current)]
    before = {needed.key: needed for needed in committed.imports}
    after = {needed.key: needed for needed in current.imports}
    for key in sorted({*before, *after}):
        if key not in after:
            found.append(f"import `{key}`: no longer needed")
        elif key not in before:
            found.append(f"import `{key}`: new")
        else:
            found.extend(
                f"import `{key}`: {text}" for text in _import_differences(before[key], after[key])
            )
    for export in committed.exports:
        found.extend(_export_differences(export, current.by_key.get(export.key)))
    for name in ("location", "published_as", "tick_seconds", "declares", "outside"):
        old, new = getattr(committed, name), getattr(current, name)
        if old != new:
            found.append(f"{name}: {old or 'none'} -> {new or 'none'}")
    if committed.watched != current.watched:
        found.append("policies on assets that it does not make: others than before")
    if committed.unkept != current.unkept:
        found.append("policies that are not kept: others than before")
    return found


def _export_differences(before: Export, after: Export | None) -> Iterator[str]:
    """Yield the differences that no reader needs to be told of."""
    if after is None:
        return
    if (before.partitions is None) != (after.partitions is None):
        if before.partitioned == after.partitioned:
            yield f"`{before.key}`: the file does not say which partitions there are"
    elif before.partitions and after.partitions:
        for name in ("single_run", "complete_from", "unsupported", "keys_first"):
            if getattr(before.partitions, name) != getattr(after.partitions, name):
                yield f"`{before.key}`: {name.replace('_', ' ')} of its partitions"
    if before.reads != after.reads:
        yield f"`{before.key}`: reads other partitions of its inputs"
    if before.observed != after.observed:
        yield f"`{before.key}`: {'observed now' if after.observed else 'no longer observed'}"


def _import_differences(before: Import, after: Import) -> Iterator[str]:
    if before.used_by != after.used_by:
        yield f"used by {', '.join(before.used_by)} -> {', '.join(after.used_by)}"
    if before.declared != after.declared:
        yield "declared as external now" if after.declared else "no longer declared as external"
    old = {(column.name, column.type): column.used_by for column in before.columns}
    new = {(column.name, column.type): column.used_by for column in after.columns}
    for name, kind in sorted({*old, *new}, key=lambda column: (column[0], column[1] or "")):
        column = f"column `{name}`" + (f" ({kind})" if kind else "")
        if (name, kind) not in new:
            yield f"{column} no longer used"
        elif (name, kind) not in old:
            yield f"{column} used now"
        elif old[name, kind] != new[name, kind]:
            readers = ", ".join(new[name, kind])
            yield f"{column} used by {readers}"


def _missing_file(location: Location, contract: Contract) -> Iterator[Finding]:
    """Find a missing contract file. A location that does not use freshline needs none."""
    path = location.contract_file
    if contract.published_as and path and not path.exists():
        yield Finding(
            Rule.STALE_CONTRACT,
            location.name,
            f"`{location.name}` has no committed contract: {shown(path)} is missing, by which "
            "reviews and other teams' tests know what it makes.",
            f"Run `freshline contract write {location.name}` and commit the file.",
            file=location.file_of(None),
        )


def _count(found: list[str]) -> str:
    return "1 difference" if len(found) == 1 else f"{len(found)} differences"


def _other_dagster(location: Location, committed: Contract, current: Contract) -> Finding:
    return Finding(
        Rule.STALE_CONTRACT,
        location.name,
        f"the committed contract of `{location.name}` was written with Dagster "
        f"{committed.dagster_version or '(unknown)'}; it runs {current.dagster_version} now.",
        f"Run `freshline contract write {location.name}` with the next change.",
        file=location.file_of(None),
        severity=Severity.NOTE,
    )
