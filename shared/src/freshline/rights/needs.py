"""Whose is a schema of the warehouse, and who reads it? The contracts of all locations say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from freshline.contract import Contract, Export
from freshline.contract.dialects import dialect_of
from freshline.errors import RoleError
from freshline.keys import THREE_PARTS, Convention
from freshline.rights.names import problem_of_name, refuse_bad_roles

__all__ = ["Needs", "Read", "Readable", "Table", "needs_of"]

_ENGINE: Final = "postgres"


class Table(NamedTuple):
    """A table or view, as a key names it."""

    schema: str
    name: str


class Read(NamedTuple):
    """That `reader` reads tables of `owner` in a schema. Both are locations."""

    reader: str
    owner: str
    schema: str


class Readable(NamedTuple):
    """The keys of what a reader can read of an owner's in a schema."""

    imported: Sequence[str]
    others: Sequence[str]
    """What it does not import, and can read because it is in the same schema."""


@dataclass(frozen=True)
class Needs:
    """What the locations of a workspace need in the warehouse. A role has its location's name."""

    locations: Sequence[str]
    writers: Mapping[str, Sequence[str]]
    """The locations that write into each schema."""
    tables: Mapping[Table, str]
    """Whose each table is, in the schemas that several locations write."""
    reads: Mapping[Read, Readable]
    uncovered: Sequence[str]
    """What is needed and cannot be derived: sentences that say what to do by hand."""


def needs_of(
    contracts: Sequence[Contract],
    *,
    convention: Convention | None = None,
    schemas: Mapping[str, Sequence[str]] | None = None,
) -> Needs:
    """Return what the locations with these contracts need.

    `convention` is that of the keys in the workspace; None: that of freshline, layer and table.
    `schemas` are those that a location has beside those of its assets, by location.

    Raises `RoleError` if a location or a schema has a name that cannot be had in Postgres, or if
    `schemas` names a location that has no contract.
    """
    locations = sorted(contract.location for contract in contracts)
    refuse_bad_roles(locations)
    made = _made(contracts)
    where = {
        key: _table_of(key, convention)
        for key, (_, export) in made.items()
        if _may_be_a_table(export)
    }
    writers: dict[str, set[str]] = {}
    for key, table in where.items():
        if table:
            writers.setdefault(table.schema, set()).add(made[key][0])
    for owner, more in (schemas or {}).items():
        _refuse_unknown(owner, locations)
        for schema in more:
            writers.setdefault(schema, set()).add(owner)
    for schema, owners in sorted(writers.items()):
        _refuse_bad_schema(schema, sorted(owners))
    reads = _reads(contracts, made, where)
    return Needs(
        locations=locations,
        writers={schema: sorted(owners) for schema, owners in sorted(writers.items())},
        tables={
            table: made[key][0]
            for key, table in sorted(where.items())
            if table and len(writers[table.schema]) > 1
        },
        reads={
            read: Readable(sorted(keys), _others(read, keys, made, where))
            for read, keys in sorted(reads.items())
        },
        uncovered=[*_without_schema(made, where), *_unknown_imports(contracts, made, where)],
    )


def _made(contracts: Sequence[Contract]) -> dict[str, tuple[str, Export]]:
    """Return who makes each key. Raises `RoleError` if two locations do: a table has one owner."""
    made: dict[str, tuple[str, Export]] = {}
    for contract in contracts:
        for export in contract.exports:
            if export.observed:
                continue  # it is made elsewhere
            if export.key in made:
                raise RoleError(
                    f"`{export.key}` is made by `{made[export.key][0]}` and by "
                    f"`{contract.location}`, and a table has one owner. See `freshline check`."
                )
            made[export.key] = (contract.location, export)
    return made


def _table_of(key: str, convention: Convention | None) -> Table | None:
    """Return the table that a key names; None: the key does not say its schema."""
    parts = key.split("/")
    if convention == THREE_PARTS and len(parts) == 3:
        return Table(*parts[1:])
    return Table(*parts) if len(parts) == 2 else None


def _engines(export: Export) -> set[str]:
    return {engine for kind in export.kinds if (engine := dialect_of(kind))}


def _may_be_a_table(export: Export) -> bool:
    """Return whether an asset may be in Postgres: nothing says that it is somewhere else."""
    engines = _engines(export)
    return not engines or _ENGINE in engines


def _is_a_table(export: Export) -> bool:
    return _ENGINE in _engines(export)


def _refuse_unknown(owner: str, locations: Sequence[str]) -> None:
    if owner not in locations:
        raise RoleError(
            f"[tool.freshline.schemas] names `{owner}`, which is no location of the workspace; its "
            f"locations are {', '.join(locations)}."
        )


def _refuse_bad_schema(schema: str, owners: Sequence[str]) -> None:
    whose = " and ".join(f"`{owner}`" for owner in owners)
    if schema in ("public", "information_schema"):
        raise RoleError(
            f"{whose} has assets in the schema `{schema}`, which no team can own. Give them a "
            "schema of their own."
        )
    problem = problem_of_name(schema)
    if problem:
        raise RoleError(f"the schema `{schema}` of {whose} {problem}. Rename it.")


def _reads(
    contracts: Sequence[Contract],
    made: Mapping[str, tuple[str, Export]],
    where: Mapping[str, Table | None],
) -> dict[Read, list[str]]:
    """Return the keys that each location reads of others, by owner and schema."""
    reads: dict[Read, list[str]] = {}
    for contract in contracts:
        for needed in contract.imports:
            table = where.get(needed.key)
            if table and made[needed.key][0] != contract.location:
                read = Read(contract.location, made[needed.key][0], table.schema)
                reads.setdefault(read, []).append(needed.key)
    return reads


def _without_schema(
    made: Mapping[str, tuple[str, Export]], where: Mapping[str, Table | None]
) -> list[str]:
    return [
        f"`{key}` of `{owner}` is a table, and its key does not say in which schema. Name that "
        f"schema in the settings: [tool.freshline.schemas], {owner} = [...]."
        for key, (owner, export) in sorted(made.items())
        if _is_a_table(export) and where.get(key) is None
    ]


def _unknown_imports(
    contracts: Sequence[Contract],
    made: Mapping[str, tuple[str, Export]],
    where: Mapping[str, Table | None],
) -> list[str]:
    found = []
    for contract in sorted(contracts, key=lambda contract: contract.location):
        for needed in contract.imports:
            if needed.key not in made:
                why = "no location makes it, so that it has no owner here"
            elif needed.key in where and where[needed.key] is None:
                why = f"`{made[needed.key][0]}` makes it, and its key does not say in which schema"
            else:
                continue
            found.append(
                f"`{contract.location}` reads `{needed.key}`: {why}. Grant it by hand: SELECT on "
                "the table, USAGE on its schema."
            )
    return found


def _others(
    read: Read,
    imported: Sequence[str],
    made: Mapping[str, tuple[str, Export]],
    where: Mapping[str, Table | None],
) -> list[str]:
    return sorted(
        key
        for key, table in where.items()
        if table
        and (made[key][0], table.schema) == (read.owner, read.schema)
        and key not in imported
    )
