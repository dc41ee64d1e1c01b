"""Rules for what a location needs from others: the asset, its columns, their types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freshline.check.declared import declaration_of, how_to_declare_outside, new_name
from freshline.check.finding import Finding, Location, Rule, Severity, Workspace
from freshline.compare.types import accepts, unread_types
from freshline.contract.document import Column, Contract, Export, Import, UsedColumn
from freshline.contract.reads import may_be_no_column
from freshline.words import quoted, similar

__all__ = ["check_imports"]


def check_imports(workspace: Workspace) -> Iterator[Finding]:
    """Find imports that nobody exports, columns that are not there, and types that do not fit."""
    for location in workspace.locations:
        for needed in location.contract.imports if location.contract else ():
            made = workspace.export(needed.key)
            if made:
                yield from _check_columns(location, needed, *made)
            elif location.contract and needed.key not in workspace.outside:
                yield _unknown_import(workspace, location, location.contract, needed)
        yield from _outside_but_made(workspace, location)


def _unknown_import(
    workspace: Workspace, location: Location, contract: Contract, needed: Import
) -> Finding:
    """Return the finding for an import that nobody exports: a note if it may exist all the same."""
    message = f"`{location.name}` needs `{needed.key}` for {quoted(needed.used_by)}; "
    file = location.file_of(contract.by_key.get(needed.used_by[0]) if needed.used_by else None)
    close = workspace.made.similar(needed.key, besides=contract.by_key)
    former = _former_maker(workspace, needed.key)
    if former:
        return Finding(
            Rule.UNKNOWN_IMPORT,
            location.name,
            message + f"`{former}` made it, as its committed contract says, and no longer does.",
            _did_you_mean(workspace, close)
            or f"Ask the team of `{former}` to keep it, or stop depending on it.",
            key=needed.key,
            file=file,
        )
    if workspace.without_contract and not workspace.made.spelled_like(needed.key):
        return Finding(
            Rule.UNKNOWN_IMPORT,
            location.name,
            message + f"no location is known to make it, and {quoted(workspace.without_contract)} "
            "could not be asked.",
            f"Make {quoted(workspace.without_contract)} load, then check again.",
            key=needed.key,
            file=file,
            severity=Severity.NOTE,
        )
    declaration = declaration_of(workspace, location, needed)
    renamed = new_name(workspace, location, needed) if declaration else None
    if declaration and not renamed:
        return Finding(
            Rule.UNKNOWN_IMPORT,
            location.name,
            message + declaration.message,
            f"If that is so on purpose, {declaration.advice}",
            key=needed.key,
            file=declaration.file or file,
            severity=Severity.NOTE,
        )
    close = renamed or close
    exporter = f"`{_maker(workspace, close)}` exports `{close}`." if close else None
    return Finding(
        Rule.UNKNOWN_IMPORT,
        location.name,
        message + (exporter or "no location makes anything like it."),
        _did_you_mean(workspace, close)
        or "Depend on an asset that a location makes; or, if it is made outside the workspace on "
        f"purpose, {how_to_declare_outside(needed, location)}",
        key=needed.key,
        file=file,
    )


def _former_maker(workspace: Workspace, key: str) -> str | None:
    """Return the location whose committed contract still makes `key`."""
    for location in workspace.locations:
        if location.committed and key in location.committed.by_key:
            return location.name
    return None


def _did_you_mean(workspace: Workspace, close: str | None) -> str | None:
    if not close:
        return None
    maker = _maker(workspace, close)
    return f"Did you mean `{close}`? If `{maker}` renamed it, depend on the new name."


def _maker(workspace: Workspace, key: str) -> str:
    return workspace.makers[key][0].name


def _outside_but_made(workspace: Workspace, location: Location) -> Iterator[Finding]:
    for key in location.contract.outside if location.contract else ():
        made = workspace.export(key)
        if made and not made[1].observed:
            yield Finding(
                Rule.UNKNOWN_IMPORT,
                location.name,
                f"`{location.name}` declares `{key}` as made outside the workspace, "
                f"but `{made[0].name}` makes it.",
                "Take freshline/outside off; the asset is then waited for like any other.",
                key=key,
                severity=Severity.NOTE,
            )


def _check_columns(
    location: Location, needed: Import, maker: Location, export: Export
) -> Iterator[Finding]:
    if export.columns is None and export.made_columns is None:
        return  # no known columns: nothing to compare with
    by_name = {column.name.lower(): column for column in export.columns or ()}
    for used in needed.columns:
        column = by_name.get(used.name.lower())
        kinds = export.kinds, _reader_kinds(location, used, needed)
        if _is_missing(maker, export, used):
            yield _missing_column(location, needed, used, maker, export)
        elif column is None:
            continue
        elif not accepts(used.type, column.type, *kinds):
            yield _other_type(location, needed, used, maker, export, column)
        elif unread := unread_types(used.type, column.type, *kinds):
            yield _unread_type(location, needed, used, maker, export, column, unread)


def _is_missing(maker: Location, export: Export, used: UsedColumn) -> bool:
    """Return whether the asset certainly does not have the column.

    What the SQL of a dbt model makes counts more than what its YAML lists.
    """
    if export.made_columns is not None:
        return not _is_made(export.made_columns, used.name) and not may_be_no_column(used.name)
    if any(column.name.lower() == used.name.lower() for column in export.columns or ()):
        return False
    return not used.inferred or _lists_all_columns(maker, export, used.name)


def _is_made(made: Sequence[str], column: str) -> bool:
    """Return whether `column`, as YAML or SQL writes it, is one of those that are made."""
    plain = column.strip('"`[]').lower()
    # In YAML, `address.city` is a field of the column `address`.
    return not {plain, plain.partition(".")[0]}.isdisjoint(name.lower() for name in made)


def _lists_all_columns(maker: Location, export: Export, column: str) -> bool:
    """Return whether a column that `export` does not list is not there.

    In dbt, a list of columns may be of those that somebody described or tests, unless it is
    enforced. But a column that was in the list and no longer is, is taken for dropped.
    """
    partial = "dbt" in export.kinds and not export.columns_enforced
    return not partial or _had_column(maker, export, column)


def _had_column(maker: Location, export: Export, column: str) -> bool:
    """Return whether the maker's committed contract has the column."""
    had = maker.committed.by_key.get(export.key) if maker.committed else None
    columns = [it.name for it in had.columns or ()] if had else []
    made = had.made_columns or () if had else ()
    return column.lower() in {name.lower() for name in (*columns, *made)}


def _missing_column(
    location: Location, needed: Import, used: UsedColumn, maker: Location, export: Export
) -> Finding:
    users = quoted(used.used_by or needed.used_by)
    gone = _had_column(maker, export, used.name)
    # Do not suggest a column that the reader already uses, or one whose type does not fit.
    known = {column.name for column in needed.columns}
    close = similar(
        used.name,
        [
            column.name
            for column in _columns_there(export)
            if column.name not in known
            and accepts(used.type, column.type, export.kinds, _reader_kinds(location, used, needed))
        ],
    )
    return Finding(
        Rule.MISSING_COLUMN,
        location.name,
        f"column `{used.name}` of `{export.key}` {'is gone' if gone else 'does not exist'} in "
        f"`{maker.name}`, which makes the table; used by {users} of `{location.name}`"
        f"{_as_the_sql_says(used, maker, export)}.",
        f"Did you mean `{close}`?"
        if close
        else f"`{maker.name}` brings the column back, or {users} stops using it first.",
        key=export.key,
        file=location.file_of(_first_reader(location, used, needed)),
    )


def _columns_there(export: Export) -> list[Column]:
    """Return the columns that an asset has, as far as known: those that its SQL makes, if known."""
    listed = export.columns or ()
    if export.made_columns is None:
        return list(listed)
    names = {column.name.lower() for column in listed}
    unlisted = [Column(name=name) for name in export.made_columns if name.lower() not in names]
    return [*(it for it in listed if _is_made(export.made_columns, it.name)), *unlisted]


def _as_the_sql_says(used: UsedColumn, maker: Location, export: Export) -> str:
    """Return the end of a sentence: whose SQL says it, and whose YAML says something else."""
    if export.made_columns is None:
        return ", as the SQL says" if used.inferred else ""
    listed = used.name.lower() in {column.name.lower() for column in export.columns or ()}
    yaml = f"; the YAML of `{maker.name}` still lists it" if listed else ""
    return f", as the SQL of {'both' if used.inferred else f'`{maker.name}`'} says{yaml}"


def _other_type(
    location: Location,
    needed: Import,
    used: UsedColumn,
    maker: Location,
    export: Export,
    column: Column,
) -> Finding:
    users = quoted(used.used_by or needed.used_by)
    return Finding(
        Rule.COLUMN_TYPE,
        location.name,
        f"column `{used.name}` of `{export.key}` is `{column.type}` in `{maker.name}`, which "
        f"makes the table; {users} of `{location.name}` uses it as `{used.type}`.",
        f"`{maker.name}` makes it `{used.type}` again, or `{location.name}` declares "
        f"`{column.type}` once {users} can read that.",
        key=export.key,
        file=location.file_of(_first_reader(location, used, needed)),
    )


def _unread_type(
    location: Location,
    needed: Import,
    used: UsedColumn,
    maker: Location,
    export: Export,
    column: Column,
    unread: Sequence[str],
) -> Finding:
    users = quoted(used.used_by or needed.used_by)
    return Finding(
        Rule.COLUMN_TYPE,
        location.name,
        f"column `{used.name}` of `{export.key}` is `{column.type}` in `{maker.name}`, and {users} "
        f"of `{location.name}` uses it as `{used.type}`. They were not compared: no type "
        f"{quoted(unread)} is known.",
        "If both mean the same type, write it by one name.",
        key=export.key,
        file=location.file_of(_first_reader(location, used, needed)),
        severity=Severity.NOTE,
    )


def _reader_kinds(location: Location, used: UsedColumn, needed: Import) -> tuple[str, ...]:
    """Return the kinds of the assets that read a column: they may name the SQL engine."""
    exports = location.contract.by_key if location.contract else {}
    readers = used.used_by or needed.used_by
    kinds = [kind for key in readers if key in exports for kind in exports[key].kinds]
    return tuple(dict.fromkeys(kinds))


def _first_reader(location: Location, used: UsedColumn, needed: Import) -> Export | None:
    readers = used.used_by or needed.used_by
    return location.contract.by_key.get(readers[0]) if location.contract and readers else None
