"""The dbt source block for what another location makes: what ``freshline sources`` writes.

Nobody copies keys, columns and types by hand. Written into a file that exists, the block is
updated: what the producer says is set anew; what the team added (tests, tags, meta, sources of
its own, comments, the order of things) stays, and so does a column that is gone but carries
such additions. A table with ``meta: {freshline: {columns: listed}}`` keeps to the columns that
its team has listed: they are what the gate takes the team to read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from freshline.contract.document import Column, Contract, Export
from freshline.errors import SourcesError
from freshline.names import DBT_META
from freshline.policy import MaxLag

__all__ = ["merge_sources"]

_NOTE: Final = "What {location} makes; updated by `freshline sources {location}`"
_OURS: Final = {"name", "data_type", "description"}
"""Fields of a column that the producer says; any other is the team's own."""
_PROMISE: Final = ("maximum_lag_minutes", "cron", "timezone")
"""Fields of a table's `meta: {freshline: ...}` that the producer says."""
_LOADED_AT: Final = ("loaded_at_field", "loaded_at_query")
"""How dbt is told when a row was loaded, of a table or of all tables of a source."""


def merge_sources(text: str, contract: Contract, only: Sequence[str] | None = None) -> str:
    """The dbt file `text` with what `contract`'s location makes brought up to date.

    `only` names the keys to write. By default these are the tables that the file has already,
    or all if it has none of them. Raises `SourcesError`.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document: Any = yaml.load(text) if text.strip() else None
    except YAMLError as error:
        raise SourcesError(f"the file is not YAML: {' '.join(str(error).split())}") from None
    if document is None:
        document = yaml.load("version: 2\nsources: []\n")
    if not isinstance(document, dict) or not isinstance(document.get("sources", []), list):
        raise SourcesError("the file is not a dbt properties file with a list of sources.")
    sources = document.setdefault("sources", [])
    for export in _chosen(contract, sources, only):
        layer, _, name = export.key.partition("/")
        source = _named(sources, layer)
        if source is None:
            source = _map({"name": layer})
            sources.append(source)
            note = _NOTE.format(location=contract.location)
            sources.yaml_set_comment_before_after_key(len(sources) - 1, before=note, indent=2)
        _table(source, name, export)
    page = io.StringIO()
    yaml.dump(document, page)
    return page.getvalue()


def _chosen(contract: Contract, sources: Sequence[Any], only: Sequence[str] | None) -> list[Export]:
    exports = [export for export in contract.exports if export.key.count("/") == 1]
    if only:
        unknown = [key for key in only if key not in contract.by_key]
        if unknown:
            names = ", ".join(export.key for export in exports)
            raise SourcesError(f"{contract.location} makes no {unknown[0]}; it makes {names}.")
        return [export for export in exports if export.key in only]
    present = [export for export in exports if _present(sources, export.key)]
    return present or exports


def _present(sources: Sequence[Any], key: str) -> bool:
    layer, _, name = key.partition("/")
    source = _named(sources, layer)
    return source is not None and _named(source.get("tables") or [], name) is not None


def _table(source: Any, name: str, export: Export) -> None:
    tables = source.get("tables")
    if tables is None:
        tables = source["tables"] = []
    table = _named(tables, name)
    if table is None:
        table = _map({"name": name})
        tables.append(table)
    _describe(table, export.description)
    _promise(source, table, export.policy)
    if export.columns is None:
        return
    columns = table.get("columns")
    if columns is None:
        columns = table["columns"] = []
    made = {column.name for column in export.columns}
    for position in reversed(range(len(columns))):
        if columns[position].get("name") not in made and set(columns[position]) <= _OURS:
            del columns[position]
    listed_only = _listed_only(table)
    for column in export.columns:
        if _named(columns, column.name) is not None or not listed_only:
            _column(columns, column)


def _listed_only(table: Any) -> bool:
    for holder in (table, table.get("config") or {}):
        ours = (holder.get("meta") or {}).get(DBT_META)
        if isinstance(ours, Mapping) and ours.get("columns") == "listed":
            return True
    return False


def _column(columns: Any, column: Column) -> None:
    entry = _named(columns, column.name)
    if entry is None:
        entry = _map({"name": column.name})
        columns.append(entry)
    if column.type:
        entry["data_type"] = column.type
    _describe(entry, column.description)


def _describe(entry: Any, description: str | None) -> None:
    if description and entry.get("description") != description:
        entry["description"] = description


def _promise(source: Any, table: Any, policy: MaxLag | None) -> None:
    """The producer's promise: dbt's own freshness where dbt can look for itself, else `meta`.

    Without a column that says when a row was loaded, most warehouses (Postgres is one) have no
    answer for dbt, which then warns of the table at every parse.
    """
    holders = [holder for it in (table, source) for holder in (it, it.get("config") or {})]
    loaded_at = any(holder.get(field) for holder in holders for field in _LOADED_AT)
    if policy and loaded_at:
        _freshness(table, policy)
    _meta(table, _said(policy) if policy and not loaded_at else {})


def _freshness(table: Any, policy: MaxLag) -> None:
    """dbt's own freshness of the table, from the producer's promise; a team's own stays."""
    if "freshness" in table or "freshness" in (table.get("config") or {}):
        return
    minutes = max(1, round(policy.minutes))
    limit = _map({"count": minutes, "period": "minute"})
    _below(table, ["config"], make=True)["freshness"] = _map({"error_after": limit})


def _said(policy: MaxLag) -> Mapping[str, Any]:
    """The policy in the words of a dbt model's `meta`."""
    plain = policy.to_json()
    return {"maximum_lag_minutes": plain.pop("minutes"), **plain}


def _meta(table: Any, said: Mapping[str, Any]) -> None:
    """Set what `meta: {freshline: ...}` says of the promise, where the table has its meta."""
    beside = "meta" in table and "meta" not in (table.get("config") or {})
    path = ["meta", DBT_META] if beside else ["config", "meta", DBT_META]
    ours = _below(table, path, make=bool(said))
    if not isinstance(ours, dict):
        return
    for name in _PROMISE:
        if name in said:
            ours[name] = said[name]
        else:
            ours.pop(name, None)
    while path and not _below(table, path, make=False):  # no empty mappings are left
        *path, last = path
        del _below(table, path, make=False)[last]


def _below(entry: Any, path: Sequence[str], *, make: bool) -> Any:
    """What is under `path` in `entry`; with `make`, a mapping where there is nothing."""
    for name in path:
        if entry.get(name) is None:
            if not make:
                return None
            entry[name] = _map({})
        entry = entry[name]
    return entry


def _named(entries: Sequence[Any], name: str) -> Any:
    return next((it for it in entries if isinstance(it, Mapping) and it.get("name") == name), None)


def _map(values: Mapping[str, Any]) -> Any:
    from ruamel.yaml.comments import CommentedMap

    return CommentedMap(values)
