"""Finds the columns that dbt models certainly read of other locations' tables, in their SQL.

Most dbt projects do not list the columns of their sources. `describe` hands on the code of the
models that read such a table, as the manifest has it, and `rendering` makes SQL of it. A model
whose code depends on what only dbt knows is left out. So is a column that may come from elsewhere:
the gate does not guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from freshline.contract.dialects import dialect_of
from freshline.contract.rendering import MARK, first_branch, quiet, renderings, table_number

__all__ = ["columns_read", "may_be_no_column", "with_columns_read"]

_DEPTH: Final = 50
"""So many queries inside each other are followed."""

_NO_COLUMNS: Final = frozenset(
    [
        *("cmax", "cmin", "ctid", "tableoid", "xmax", "xmin", "oid"),  # Postgres
        *("level", "rowid", "rownum", "sysdate", "systimestamp", "user"),  # Oracle, SQLite, DuckDB
        *("_partitiontime", "_partitiondate", "_table_suffix", "_file_name"),  # BigQuery
        *("_part", "_part_index", "_part_uuid", "_partition_id", "_sample_factor"),  # ClickHouse
        *("_metadata", "_change_type", "_commit_version", "_commit_timestamp"),  # Databricks
        *("current_date", "current_time", "current_timestamp", "current_user", "session_user"),
        *("localtime", "localtimestamp", "default", "value"),
    ]
)
"""Names that engines give a meaning of their own, without a column."""

_UNITS: Final = frozenset(
    [
        *("century", "day", "dayofweek", "dayofyear", "decade", "dow", "doy", "epoch", "hour"),
        *("isoweek", "isoyear", "microsecond", "millennium", "millisecond", "minute", "month"),
        *("nanosecond", "quarter", "second", "week", "year", "days", "hours", "minutes", "months"),
        *("seconds", "weeks", "years"),
    ]
)
"""Units of time, which functions take without quotes: `timestampdiff(day, ...)`."""


def with_columns_read(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of `describe` with the columns that its `queries` read, without these."""
    found: dict[str, dict[str, set[str]]] = {}
    for query in document.get("queries", ()):
        dialect = dialect_of(query["adapter"])
        relations = tuple(tuple(relation) for relation in query["relations"])
        read = columns_read(query["code"], dialect, relations) if dialect else {}
        for key, columns in read.items():
            if key in query["imports"]:
                for column in columns:
                    found.setdefault(key, {}).setdefault(column, set()).add(query["asset"])
    imports = [
        {**needed, "columns": _merged(needed["columns"], found.get(needed["key"], {}))}
        for needed in document["imports"]
    ]
    rest = {name: value for name, value in document.items() if name != "queries"}
    return {**rest, "imports": imports}


def _merged(
    declared: Sequence[Mapping[str, Any]], found: Mapping[str, set[str]]
) -> list[Mapping[str, Any]]:
    inferred = [
        {"name": name, "type": None, "used_by": sorted(by), "inferred": True}
        for name, by in found.items()
    ]
    return sorted(
        [*declared, *inferred],
        key=lambda column: (column["name"], column["type"] or "", column.get("inferred", False)),
    )


@lru_cache(maxsize=1024)
def columns_read(
    code: str, dialect: str, relations: tuple[tuple[str, ...], ...]
) -> Mapping[str, frozenset[str]]:
    """Return the columns that a dbt model certainly reads, by asset key.

    `code` is the model's code with Jinja, `dialect` sqlglot's name of its dialect. `relations` are
    what it may refer to: (asset key, source, table) or (asset key, package, model, version); the
    version is "" if the model has none. Nothing is returned if the code cannot be understood.
    """
    from sqlglot import parse_one
    from sqlglot.errors import SqlglotError

    found: dict[str, set[str]] = {}
    for sql in renderings(code, relations):
        try:
            with quiet():
                for number, column in _certain_columns(parse_one(sql, dialect=dialect)):
                    found.setdefault(relations[number][0], set()).add(column)
        except (SqlglotError, ValueError, RecursionError):
            return {}
    return {key: frozenset(columns) for key, columns in found.items()}


def _certain_columns(query: Any) -> Iterator[tuple[int, str]]:
    """Yield the number of a marked table and the column, for each that is certainly read."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    for scope in traverse_scope(query):
        if not isinstance(scope.expression, exp.Select):
            continue
        aliases = _aliases(scope)
        sources = {name.lower(): source for name, source in scope.sources.items()}
        for column in scope.columns:
            # Columns of queries inside are listed too, and belong to those.
            if not column.table and column.parent_select is not scope.expression:
                continue
            if not isinstance(column.this, exp.Identifier) or column.args.get("db"):
                continue
            source = (
                sources.get(column.table.lower())
                if column.table
                else _only_source(scope)
                if _is_plain_column(column, scope, aliases)
                else None
            )
            name = column.name if column.this.args.get("quoted") else column.name.lower()
            if not may_be_no_column(name) and MARK not in name:
                number = _table_of(source, name.lower(), 0)
                if number is not None:
                    yield number, name


def may_be_no_column(name: str) -> bool:
    """Return whether an engine gives a name a meaning of its own, without a column."""
    return name.lower() in _NO_COLUMNS


def _aliases(scope: Any) -> Mapping[str, Any]:
    """Return the projections of a query by their alias, in lower case; the first of each name."""
    from sqlglot import exp

    named = [it for it in scope.expression.expressions if isinstance(it, exp.Alias)]
    return {it.alias.lower(): it for it in reversed(named)}


def _is_plain_column(column: Any, scope: Any, aliases: Mapping[str, Any]) -> bool:
    """Return whether a column without a table is one of the table that the query reads."""
    from sqlglot import exp

    if scope.is_subquery or scope.is_udtf:
        return False  # it may belong to the query around
    name = column.name.lower()
    if name in {source.lower() for source in scope.sources}:
        return False  # the whole row
    if name in {cte.alias.lower() for cte in column.root().find_all(exp.CTE)}:
        return False  # a value, in ClickHouse
    if isinstance(column.parent, exp.Func) and name in _UNITS:
        return False
    if column.find_ancestor(exp.Comprehension):
        return False  # `[x for x in items]`
    # Outside of the projection that makes an alias, its name may mean the alias.
    return name not in aliases or column.find_ancestor(exp.Alias) is aliases[name]


def _only_source(scope: Any) -> Any:
    """Return the one table or query that a query selects from; None: there are several, or none."""
    select = scope.expression
    if any(select.args.get(part) for part in ("joins", "laterals", "connect", "match")):
        return None
    selected = list(scope.selected_sources.values())
    return selected[0][1] if len(selected) == 1 else None


def _table_of(source: Any, column: str, depth: int) -> int | None:
    """Return the number of the marked table that `column` of `source` is a column of.

    None: of none, or it is not certain. Columns pass through a `select *` unchanged.
    """
    from sqlglot import exp

    if source is None or depth > _DEPTH:
        return None
    if isinstance(source, exp.Table):
        return table_number(source)
    select = source.expression
    if isinstance(select, exp.SetOperation):
        # The first of the queries gives the columns their names.
        return _table_of(first_branch(source), column, depth + 1)
    if not isinstance(select, exp.Select):
        return None
    renamed = select.parent and getattr(select.parent, "alias_column_names", None)
    if renamed or (select.parent and select.parent.args.get("pivots")):
        return None
    names = [it.alias_or_name.lower() for it in select.expressions if not it.is_star]
    stars = [it for it in select.expressions if it.is_star]
    plain_star = len(stars) == 1 and not any(
        part.args.get(change)
        for part in stars[0].find_all(exp.Star)
        for change in ("except", "except_", "replace", "rename")
    )
    if column in names or not plain_star:
        return None
    return _table_of(_only_source(source), column, depth + 1)
