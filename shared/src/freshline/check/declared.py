"""Inputs that somebody declares as made elsewhere: by whom, where to confirm it, and when not.

An external definition declares one, and so does the configuration of an integration: a dbt source,
a stream that Sling or dlt reads. Such an input may well be made outside the workspace.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from freshline.check.finding import Location, Workspace, shown
from freshline.contract.document import Export, Import

__all__ = ["Declaration", "declaration_of", "how_to_declare_outside", "new_name"]

_ALIKE: Final = 0.8
"""How much two names of tables have in common (`difflib`'s ratio) that may be one table renamed."""
_INTEGRATIONS: Final = {
    "sling": "Sling",
    "dlt": "dlt",
    "fivetran": "Fivetran",
    "airbyte": "Airbyte",
}


class Declaration(NamedTuple):
    """Who declares an input as made elsewhere, and how to say that this is on purpose."""

    message: str
    advice: str
    file: str | None


def declaration_of(workspace: Workspace, location: Location, needed: Import) -> Declaration | None:
    """Return how an import is declared, by this location if it does, else by another; or None."""
    declaring = workspace.declared.get(needed.key)
    if declaring:
        whose = "it" if location.name in declaring else f"`{declaring[0]}`"
        return Declaration(
            f"{whose} declares it as external, and no location makes it.",
            'say so with metadata {"freshline/outside": True} on its definition.',
            None,
        )
    if needed.expected or needed.key not in workspace.declared_inputs:
        return None
    where, declared = (
        (location, needed) if needed.declared_by else workspace.declared_inputs[needed.key]
    )
    whose = "it" if where is location else f"`{where.name}`"
    return Declaration(
        f"{whose} declares it as {_called(declared)}, and no location makes it.",
        how_to_declare_outside(declared, where),
        _declaring_file(declared, where),
    )


def _called(declared: Import) -> str:
    if declared.declared_by == "dbt":
        name = ".".join(declared.declared_as)
        return f"the dbt source `{name}`" if name else "a dbt source"
    return f"an input of {_INTEGRATIONS.get(str(declared.declared_by), declared.declared_by)}"


def how_to_declare_outside(needed: Import, location: Location) -> str:
    """Return what to write, and where, so that an input counts as made outside the workspace."""
    if needed.declared_by == "dbt":
        known = len(needed.declared_as) == 2
        source, table = needed.declared_as if known else ("<source>", "<table>")
        file = _declaring_file(needed, location) or "the file of the dbt source"
        return (
            f"write in {file}:\n"
            "sources:\n"
            f"  - name: {source}\n"
            "    tables:\n"
            f"      - name: {table}\n"
            "        config: {meta: {freshline: {outside: true}}}"
        )
    if needed.declared_by:
        parts = json.dumps(needed.key.split("/"))
        return (
            f"add to the definitions of `{location.name}`: "
            f'dg.AssetSpec({parts}, metadata={{"freshline/outside": True}}).'
        )
    return 'declare it with metadata {"freshline/outside": True}.'


def _declaring_file(needed: Import, location: Location) -> str | None:
    """Return the file that declares an input; inside a dbt project if its folder is not known."""
    if not needed.declared_in:
        return None
    path = location.folder / needed.declared_in if location.folder else None
    return shown(path) if path and path.exists() else needed.declared_in


# --- what was meant ---------------------------------------------------------------------------


def new_name(workspace: Workspace, location: Location, needed: Import) -> str | None:
    """Return the key that a declared input has now; None: it may well be made elsewhere.

    That is a key that is spelled nearly the same. For the input of an integration it is also one
    with the signs of a rename: in the same layer, not read by this location, not made from the
    input, and either with all the columns that are read or with much the same name.
    """
    spelled = workspace.made.spelled_like(needed.key)
    if spelled:
        return spelled[0]
    layer, _, table = needed.key.rpartition("/")
    if not (needed.declared_by and layer and location.contract):
        return None
    exports, read = workspace.layers.get(layer, {}), location.contract.reads
    found = _with_columns(workspace, layer, needed)
    names = workspace.tables.get(layer)
    alike = names.similar(table, besides=_Read(layer, read)) if names else None
    if alike and _is_alike(table, alike) and not _lacks_columns(exports[alike], needed):
        found.add(alike)
    keys = sorted({f"{layer}/{it}" for it in found} - read)
    return next((key for key in keys if not _is_made_from(workspace, key, needed.key)), None)


@dataclass(frozen=True)
class _Read:
    """The tables of a layer that a location reads."""

    layer: str
    keys: Collection[str]

    def __contains__(self, table: object) -> bool:
        return f"{self.layer}/{table}" in self.keys


def _with_columns(workspace: Workspace, layer: str, needed: Import) -> set[str]:
    """Return the tables with all columns that are read, if these are enough to know a table by."""
    if len(needed.columns) < 2:
        return set()
    having = (
        workspace.tables_with_column.get((layer, column.name.lower()), frozenset())
        for column in needed.columns
    )
    return set(frozenset.intersection(*having))


def _lacks_columns(export: Export, needed: Import) -> bool:
    if export.columns is None:
        return False
    made = {column.name.lower() for column in export.columns}
    return any(used.name.lower() not in made for used in needed.columns)


def _is_alike(one: str, other: str) -> bool:
    """Return whether one name has all words of the other, or nearly all its letters."""
    words, others = set(one.lower().split("_")), set(other.lower().split("_"))
    if words <= others or others <= words:
        return True
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= _ALIKE


def _is_made_from(workspace: Workspace, key: str, source: str) -> bool:
    """Return whether `source` is upstream of `key`."""
    seen, waiting = {key}, [key]
    while waiting:
        made = workspace.export(waiting.pop())
        for dep in made[1].deps if made else ():
            if dep == source:
                return True
            if dep not in seen:
                seen.add(dep)
                waiting.append(dep)
    return False
