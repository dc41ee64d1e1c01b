"""What differs between two contracts of one location, and which differences can break a reader."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from freshline.compare.partitions import partition_changes
from freshline.compare.types import accepts
from freshline.contract.document import Column, Contract, Export
from freshline.policy import MaxLag
from freshline.words import same_but_for_spelling

__all__ = ["Change", "changes"]


@dataclass(frozen=True)
class Change:
    """One difference in what a location makes."""

    key: str
    """The asset, by its name before the change."""
    text: str
    """What changed, in a few words."""
    breaking: bool
    """Whether something that readers may rely on no longer holds."""
    column: str | None = None
    """The column that changed, by its name before the change; None: no column changed."""


def changes(before: Contract, after: Contract) -> list[Change]:
    """Return the changes of a location's assets, sorted by key; breaking changes of a key first.

    A key or column that is gone counts as renamed if a similar one is new.
    """
    gone = [export for export in before.exports if export.key not in after.by_key]
    new = [export for export in after.exports if export.key not in before.by_key]
    found: list[Change] = []
    for export in gone:
        successor = _successor(export, new)
        if successor:
            new.remove(successor)
            found.append(Change(export.key, f"renamed to `{successor.key}`", breaking=True))
            found.extend(_asset_changes(export, successor))
        else:
            found.append(Change(export.key, "removed", breaking=True))
    found.extend(Change(export.key, "added", breaking=False) for export in new)
    for export in before.exports:
        if export.key in after.by_key:
            found.extend(_asset_changes(export, after.by_key[export.key]))
    return sorted(found, key=lambda change: (change.key, not change.breaking))


def _successor(export: Export, new: list[Export]) -> Export | None:
    """Return the new asset that is probably `export` under another name."""
    names = [column.name for column in export.columns or ()]
    for other in new:
        alike = bool(names) and names == [column.name for column in other.columns or ()]
        if alike or same_but_for_spelling(export.key, other.key):
            return other
    return None


def _asset_changes(before: Export, after: Export) -> Iterator[Change]:
    key = before.key
    columns = list(_columns_changes(before, after))
    yield from columns
    yield from _made_changes(before, after, {it.column.lower() for it in columns if it.column})
    yield from _policy_changes(key, before.policy, after.policy)
    for text, breaking in partition_changes(before, after):
        yield Change(key, text, breaking=breaking)
    if before.view != after.view:
        yield Change(key, "a view now" if after.view else "no longer a view", breaking=False)
    if before.columns_enforced and not after.columns_enforced:
        yield Change(key, "its columns are no longer enforced", breaking=True)
    elif after.columns_enforced and not before.columns_enforced:
        yield Change(key, "its columns are enforced now", breaking=False)
    for name, old, new in (
        ("owners", ", ".join(before.owners), ", ".join(after.owners)),
        ("group", before.group, after.group),
        ("kinds", ", ".join(before.kinds), ", ".join(after.kinds)),
        ("dependencies", ", ".join(before.deps), ", ".join(after.deps)),
        ("computation", before.unit, after.unit),
        ("expected seconds", before.expected_seconds, after.expected_seconds),
        ("file", before.file, after.file),
    ):
        if old != new:
            yield Change(key, f"{name}: {old or 'none'} -> {new or 'none'}", breaking=False)
    if before.description != after.description:
        yield Change(key, "another description", breaking=False)


def _policy_changes(key: str, before: MaxLag | None, after: MaxLag | None) -> Iterator[Change]:
    if before == after:
        return
    text = f"maximum lag: {before or 'none'} -> {after or 'none'}"
    still_holds = before is None or (after is not None and after.covers(before))
    yield Change(key, text, breaking=not still_holds)


def _columns_changes(before: Export, after: Export) -> Iterator[Change]:
    if before.columns is None or after.columns is None:
        if before.columns != after.columns:
            how = "are declared now" if before.columns is None else "are no longer declared"
            yield Change(before.key, f"its columns {how}", breaking=after.columns is None)
        return
    old = {column.name: column for column in before.columns}
    new = {column.name: column for column in after.columns}
    added = [column for name, column in new.items() if name not in old]
    for name, column in old.items():
        if name in new:
            yield from _column_changes(before, column, new[name])
            continue
        successor = next((other for other in added if _is_renamed(column, other)), None)
        if successor:
            added.remove(successor)
        how = f"renamed to `{successor.name}`" if successor else "removed"
        yield Change(before.key, f"column `{name}` {how}", breaking=True, column=name)
    for column in added:
        text = f"column `{column.name}` added"
        yield Change(before.key, text, breaking=False, column=column.name)


def _made_changes(before: Export, after: Export, told: Collection[str]) -> Iterator[Change]:
    """Yield the changes of the columns that the SQL of a dbt model makes, except those `told`."""
    if before.made_columns is None or after.made_columns is None:
        if before.made_columns != after.made_columns:
            how = "are known" if before.made_columns is None else "are no longer known"
            yield Change(before.key, f"its columns {how} from its SQL", breaking=False)
        return
    old, new = ({it.lower() for it in made} for made in (before.made_columns, after.made_columns))
    added = sorted(new - old - set(told))
    for name in sorted(old - new - set(told)):
        successor = next((it for it in added if same_but_for_spelling(name, it)), None)
        if successor:
            added.remove(successor)
        how = f"renamed to `{successor}`" if successor else "removed"
        yield Change(before.key, f"column `{name}` {how} in its SQL", breaking=True, column=name)
    for name in added:
        text = f"column `{name}` added in its SQL"
        yield Change(before.key, text, breaking=False, column=name)


def _is_renamed(gone: Column, new: Column) -> bool:
    """Return whether `new` is probably `gone` under another name."""
    if gone.description and gone.description == new.description:
        return True
    return gone.type == new.type and same_but_for_spelling(gone.name, new.name)


def _column_changes(export: Export, before: Column, after: Column) -> Iterator[Change]:
    name = before.name
    if before.type != after.type:
        compatible = accepts(before.type, after.type, export.kinds) and (
            after.type is not None or before.type is None
        )
        text = f"column `{name}`: {before.type or 'no type'} -> {after.type or 'no type'}"
        yield Change(export.key, text, breaking=not compatible, column=name)
    if after.nullable and not before.nullable:
        yield Change(export.key, f"column `{name}` may be null now", breaking=True, column=name)
    elif before.nullable and not after.nullable:
        text = f"column `{name}` is never null now"
        yield Change(export.key, text, breaking=False, column=name)
    if before.description != after.description:
        text = f"column `{name}`: another description"
        yield Change(export.key, text, breaking=False, column=name)
