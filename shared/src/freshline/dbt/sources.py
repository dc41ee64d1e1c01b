"""The dbt sources for what another location makes, as ``freshline sources`` writes them.

In a file that exists, names, types, descriptions and policies are set to those of the producer.
The team's own additions stay: tests, tags, meta, other sources, comments, the order. A column that
the producer no longer has stays if the team has added something to it. A table with ``meta:
{freshline: {columns: listed}}`` gets no new columns: the gate counts the columns in its list as
those that the team reads.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from freshline.contract.document import Column, Contract, Export
from freshline.errors import SourcesError
from freshline.names import DBT_META
from freshline.policy import MaxLag

__all__ = ["left_out", "merge_sources"]

_COMMENT: Final = "What {location} makes; updated by `freshline sources {location}`"
_PRODUCER_FIELDS: Final = {"name", "data_type", "description"}
"""Fields of a column that the producer sets; any other is the team's own."""
_POLICY_FIELDS: Final = ("maximum_lag_minutes", "cron", "timezone")
"""Fields of a table's `meta: {freshline: ...}` that the producer sets."""
_LOADED_AT: Final = ("loaded_at_field", "loaded_at_query")
"""Fields of a table or source that tell dbt when a row was loaded."""


def merge_sources(text: str, contract: Contract, only: Sequence[str] | None = None) -> str:
    """Return the text of a dbt file, `text`, with the tables of `contract` brought up to date.

    `only` names the keys to write. By default these are the tables that the file already has; if
    it has none, all tables of the contract. Raises `SourcesError`.
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
    for export in _exports_to_write(contract, sources, only):
        layer, _, name = export.key.partition("/")
        source = _find(sources, layer)
        if source is None:
            source = _yaml_map({"name": layer})
            sources.append(source)
            note = _COMMENT.format(location=contract.location)
            sources.yaml_set_comment_before_after_key(len(sources) - 1, before=note, indent=2)
        _update_table(source, name, export)
    page = io.StringIO()
    yaml.dump(document, page)
    return page.getvalue()


def _exports_to_write(
    contract: Contract, sources: Sequence[Any], only: Sequence[str] | None
) -> list[Export]:
    exports = [export for export in contract.exports if export.key.count("/") == 1]
    if only:
        unknown = [key for key in only if key not in contract.by_key]
        if unknown:
            names = ", ".join(contract.by_key)
            raise SourcesError(f"{contract.location} makes no {unknown[0]}; it makes {names}.")
        other = [key for key in only if key in left_out(contract)]
        if other:
            raise SourcesError(_write_by_hand(contract, other[0]))
        return [export for export in exports if export.key in only]
    if contract.exports and not exports:
        raise SourcesError(_write_by_hand(contract, contract.exports[0].key))
    present = [export for export in exports if _is_present(sources, export.key)]
    return present or exports


def left_out(contract: Contract) -> list[str]:
    """Return the keys that no dbt source has by its name: they are not ``[layer, table]``."""
    return [export.key for export in contract.exports if export.key.count("/") != 1]


def _write_by_hand(contract: Contract, key: str) -> str:
    parts = key.split("/")
    return (
        f"{key} of {contract.location} has {len(parts)} part{'s' if len(parts) > 1 else ''}, and "
        "only from a key [layer, table] follow the names of a source and a table. Write the "
        "source by hand, with the key in it, and read it with Dagster's own translator or "
        'FreshlineDbtTranslator(keys="dagster-dbt"):\n'
        "sources:\n"
        "  - name: <source>\n"
        "    schema: <where the table is>\n"
        "    tables:\n"
        f"      - name: {parts[-1]}\n"
        f"        config: {{meta: {{dagster: {{asset_key: [{', '.join(parts)}]}}}}}}"
    )


def _is_present(sources: Sequence[Any], key: str) -> bool:
    layer, _, name = key.partition("/")
    source = _find(sources, layer)
    return source is not None and _find(source.get("tables") or [], name) is not None


def _update_table(source: Any, name: str, export: Export) -> None:
    tables = source.get("tables")
    if tables is None:
        tables = source["tables"] = []
    table = _find(tables, name)
    if table is None:
        table = _yaml_map({"name": name})
        tables.append(table)
    _update_description(table, export.description)
    _update_policy(source, table, export.policy)
    if export.columns is None:
        return
    columns = table.get("columns")
    if columns is None:
        columns = table["columns"] = []
    made = {column.name for column in export.columns}
    for position in reversed(range(len(columns))):
        if columns[position].get("name") not in made and set(columns[position]) <= _PRODUCER_FIELDS:
            del columns[position]
    listed_only = _lists_its_columns(table)
    for column in export.columns:
        if _find(columns, column.name) is not None or not listed_only:
            _update_column(columns, column)


def _lists_its_columns(table: Any) -> bool:
    for holder in (table, table.get("config") or {}):
        own = (holder.get("meta") or {}).get(DBT_META)
        if isinstance(own, Mapping) and own.get("columns") == "listed":
            return True
    return False


def _update_column(columns: Any, column: Column) -> None:
    entry = _find(columns, column.name)
    if entry is None:
        entry = _yaml_map({"name": column.name})
        columns.append(entry)
    if column.type:
        entry["data_type"] = column.type
    _update_description(entry, column.description)


def _update_description(entry: Any, description: str | None) -> None:
    if description and entry.get("description") != description:
        entry["description"] = description


def _update_policy(source: Any, table: Any, policy: MaxLag | None) -> None:
    """Write the producer's policy: as dbt's own freshness if dbt can check it, else in `meta`.

    Without a column that says when a row was loaded, dbt cannot check freshness in most
    warehouses (Postgres is one), and warns of the table at every parse.
    """
    holders = [holder for it in (table, source) for holder in (it, it.get("config") or {})]
    loaded_at = any(holder.get(field) for holder in holders for field in _LOADED_AT)
    if policy and loaded_at:
        _add_freshness(table, policy)
    _update_meta(table, _policy_fields(policy) if policy and not loaded_at else {})


def _add_freshness(table: Any, policy: MaxLag) -> None:
    """Write the policy as dbt's own freshness of the table, unless the team has written one."""
    if "freshness" in table or "freshness" in (table.get("config") or {}):
        return
    minutes = max(1, round(policy.minutes))
    limit = _yaml_map({"count": minutes, "period": "minute"})
    _value_at(table, ["config"], make=True)["freshness"] = _yaml_map({"error_after": limit})


def _policy_fields(policy: MaxLag) -> Mapping[str, Any]:
    """Return the policy as the fields of a dbt model's `meta`."""
    plain = policy.to_json()
    return {"maximum_lag_minutes": plain.pop("minutes"), **plain}


def _update_meta(table: Any, fields: Mapping[str, Any]) -> None:
    """Set the policy in `meta: {freshline: ...}`, where the table has it: directly or in config."""
    directly = "meta" in table and "meta" not in (table.get("config") or {})
    path = ["meta", DBT_META] if directly else ["config", "meta", DBT_META]
    own = _value_at(table, path, make=bool(fields))
    if not isinstance(own, dict):
        return
    for name in _POLICY_FIELDS:
        if name in fields:
            own[name] = fields[name]
        else:
            own.pop(name, None)
    while path and not _value_at(table, path, make=False):  # leave no empty mapping behind
        *path, last = path
        del _value_at(table, path, make=False)[last]


def _value_at(entry: Any, path: Sequence[str], *, make: bool) -> Any:
    """Return the value at `path` in `entry`. If there is none: with `make` add {}, else None."""
    for name in path:
        if entry.get(name) is None:
            if not make:
                return None
            entry[name] = _yaml_map({})
        entry = entry[name]
    return entry


def _find(entries: Sequence[Any], name: str) -> Any:
    """Return the entry that has this name; None: there is none."""
    return next((it for it in entries if isinstance(it, Mapping) and it.get("name") == name), None)


def _yaml_map(values: Mapping[str, Any]) -> Any:
    from ruamel.yaml.comments import CommentedMap

    return CommentedMap(values)
