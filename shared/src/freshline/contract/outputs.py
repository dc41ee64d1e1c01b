"""Finds all columns that a dbt model certainly makes, in its SQL.

In a dbt project's YAML, a list of columns is often of those that somebody described or tests. So
`describe` hands on the code of the models whose columns are not enforced, and of the models that
they select from. A column is only known if the SQL names it: explicitly, or by a `select *` from a
query or another model whose columns are known. Where anything else may add a column, the gate does
not guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from freshline.contract.dialects import dialect_of
from freshline.contract.rendering import (
    MARK,
    first_branch,
    quiet,
    rendered,
    renderings,
    table_number,
)

__all__ = ["columns_made", "with_columns_made"]

_DEPTH: Final = 50
"""So many queries, or models, that select from each other are followed."""

_CHANGES_TABLE: Final = re.compile(r"\b(alter|call|do|exec|execute|rename|replace)\b", re.I)
"""A statement in a hook that may change the table's columns."""

_PLAIN: Final = frozenset(
    [
        *("with", "hint", "distinct", "expressions", "from", "joins", "laterals", "where"),
        *("group", "having", "qualify", "order", "limit", "offset", "windows", "sort", "cluster"),
        *("distribute", "sample", "prewhere", "settings", "format", "connect", "locks", "fetch"),
    ]
)
"""Parts of a `select` that do not change which columns it has beside those in its list."""

_SEVERAL: Final = frozenset(["explode", "explodeouter", "inline", "posexplode", "unnest"])
"""Functions that may make several columns of one value, as sqlglot calls them."""


def with_columns_made(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of `describe` with the columns that its `models` make, without these."""
    models = {model["id"]: model for model in document.get("models", ())}
    known: dict[str, tuple[str, ...] | None] = {}
    made = {
        model["asset"]: _made(model["id"], models, known, 0)
        for model in models.values()
        if model["asset"]
    }
    exports = [
        {**export, "made_columns": sorted(columns)} if columns else export
        for export, columns in ((it, made.get(it["key"])) for it in document["exports"])
    ]
    rest = {name: value for name, value in document.items() if name != "models"}
    return {**rest, "exports": exports}


def _made(
    name: str,
    models: Mapping[str, Mapping[str, Any]],
    known: dict[str, tuple[str, ...] | None],
    depth: int,
) -> tuple[str, ...] | None:
    """Return the columns of the model `name`, and keep them in `known`; None: not known."""
    if name not in known:
        known[name] = None  # until it is known: nothing follows from a model that reads itself
        model = models.get(name)
        dialect = dialect_of(model["adapter"]) if model else None
        if model and dialect and depth < _DEPTH:
            relations = tuple(tuple(relation) for relation in model["relations"])
            parents = tuple(
                _made(relation[0], models, known, depth + 1) if "*" in model["code"] else None
                for relation in relations
            )
            if not any(_may_change_table(hook, relations) for hook in model["hooks"]):
                known[name] = columns_made(model["code"], dialect, relations, parents)
    return known[name]


def _may_change_table(hook: str, relations: Sequence[tuple[str, ...]]) -> bool:
    """Return whether a hook may change the columns of the table that a model makes."""
    sql = rendered(hook, relations, incremental=False)
    return sql is None or bool(_CHANGES_TABLE.search(sql))


@lru_cache(maxsize=1024)
def columns_made(
    code: str,
    dialect: str,
    relations: tuple[tuple[str, ...], ...],
    known: tuple[tuple[str, ...] | None, ...],
) -> tuple[str, ...] | None:
    """Return the names of all columns that a dbt model makes; None: they are not certain.

    `code`, `dialect` and `relations` are as in `columns_read`. `known` has the columns of each
    relation; None: they are not known. A name without quotes is returned in lower case.
    """
    from sqlglot import exp, parse
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.scope import build_scope

    found = set()
    for sql in renderings(code, relations):
        try:
            with quiet():
                statements = parse(sql, dialect=dialect)
                queries = [it for it in statements if it and not isinstance(it, exp.Semicolon)]
                scope = build_scope(queries[0].unnest()) if len(queries) == 1 else None
                found.add(_Outputs(dialect, known).of_query(scope, 0))
        except (SqlglotError, ValueError, RecursionError):
            return None
    return found.pop() if len(found) == 1 else None


class _Outputs:
    """The columns of the queries in the SQL of a model, for the columns of the tables in it."""

    def __init__(self, dialect: str, known: Sequence[tuple[str, ...] | None]) -> None:
        self._dialect = dialect
        self._known = known

    def of_query(self, scope: Any, depth: int) -> tuple[str, ...] | None:
        """Return the columns of a query; None: not known."""
        from sqlglot import exp

        if scope is None or depth > _DEPTH:
            return None
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            # The first of the queries gives the columns their names.
            by_name = query.args.get("by_name") or query.args.get("side") or query.args.get("on")
            return None if by_name else self.of_query(first_branch(scope), depth + 1)
        if not isinstance(query, exp.Select) or not _is_plain(query):
            return None
        names: list[str] = []
        for projection in query.expressions:
            added = (
                self._of_star(projection, scope, depth)
                if projection.is_star
                else self._of_projection(projection, query)
            )
            if added is None:
                return None
            names.extend(added)
        # Engines refuse a name that is there twice, or give it another one.
        distinct = len({name.lower() for name in names}) == len(names)
        return tuple(names) if names and distinct else None

    def _of_projection(self, projection: Any, query: Any) -> list[str] | None:
        from sqlglot import exp

        several = isinstance(projection.this, exp.Func) and projection.this.key in _SEVERAL
        if isinstance(projection, exp.Alias) and not several and not projection.find(exp.Columns):
            named = projection.args["alias"]
        elif isinstance(projection, exp.Column) and not self._is_renamed(projection, query):
            named = projection.this
        else:
            return None
        if not isinstance(named, exp.Identifier):
            return None
        return None if MARK in named.name else [_name(named)]

    def _is_renamed(self, column: Any, query: Any) -> bool:
        """Return whether ClickHouse may name a column with its table, as it does in joins."""
        return self._dialect == "clickhouse" and bool(column.table and query.args.get("joins"))

    def _of_star(self, star: Any, scope: Any, depth: int) -> list[str] | None:
        """Return the columns that `*` or `table.*` stands for."""
        from sqlglot import exp

        changes = star.this if isinstance(star, exp.Column) else star
        if not isinstance(changes, exp.Star) or star.args.get("db"):
            return None
        sources = scope.selected_sources
        joins = scope.expression.args.get("joins") or []
        if isinstance(star, exp.Column):
            chosen = [it for name, it in sources.items() if name.lower() == star.table.lower()]
            if len(chosen) != 1:
                return None
        else:
            plain = not any(join.args.get("method") or join.kind == "ARRAY" for join in joins)
            if scope.expression.args.get("laterals") or len(sources) != len(joins) + 1 or not plain:
                return None
            chosen = list(sources.values())
        merged = {part.name.lower() for join in joins for part in join.args.get("using") or ()}
        names: list[str] = []
        for node, source in chosen:
            columns = self._of_source(node, source, depth)
            if columns is None:
                return None
            names.extend(it for it in columns if it.lower() not in merged or it not in names)
        return _changed(names, changes)

    def _of_source(self, node: Any, source: Any, depth: int) -> Sequence[str] | None:
        """Return the columns of a table or query that another one selects from."""
        from sqlglot import exp

        if isinstance(source, exp.Table):
            number = table_number(source)
            return None if number is None or source.args.get("joins") else self._known[number]
        if node.args.get("pivots") or node.args.get("joins"):
            return None
        columns: Sequence[str] | None = self.of_query(source, depth + 1)
        for named in (source.expression.parent, node):
            given = _column_aliases(named)
            if given:
                columns = given if columns and len(columns) == len(given) else None
        return columns


def _is_plain(query: Any) -> bool:
    """Return whether the list of a `select` says which columns it has."""
    given = _given(query)
    within = _given(given["with"]) if "with" in given else {}
    return given.keys() <= _PLAIN and not {"search", "cycle"} & within.keys()


def _given(part: Any) -> dict[str, Any]:
    """Return the arguments of a part of the SQL, by the names that all versions of sqlglot have."""
    return {name.rstrip("_"): value for name, value in part.args.items() if value}


def _column_aliases(named: Any) -> list[str]:
    """Return the names that `as t(a, b)` gives the columns of a table or query."""
    alias = named.args.get("alias") if named else None
    return [_name(column) for column in (getattr(alias, "columns", None) or ())]


def _changed(names: Iterable[str], star: Any) -> list[str] | None:
    """Return the columns of a star, without those that it leaves out and by their new names."""
    from sqlglot import exp

    changes = _given(star)
    left_out = {it.name.lower() for it in changes.pop("except", ())}
    renamed = {
        it.this.name.lower(): _name(it.args["alias"])
        for it in changes.pop("rename", ())
        if isinstance(it, exp.Alias)
    }
    changes.pop("replace", None)  # other values, the same names
    if changes:
        return None
    return [renamed.get(it.lower(), it) for it in names if it.lower() not in left_out]


def _name(identifier: Any) -> str:
    """Return the name as it is compared: one without quotes in lower case."""
    return str(identifier.name if identifier.args.get("quoted") else identifier.name.lower())
