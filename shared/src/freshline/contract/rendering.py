"""Renders the code of a dbt model without dbt, so that it is the same on every machine.

It does not matter whether the project was compiled there. Code with anything that only dbt knows (a
macro, the target's name in a condition) is not rendered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

__all__ = ["MARK", "first_branch", "quiet", "rendered", "renderings", "table_number"]

MARK: Final = "__freshline_"
"""What the names begin with that stand for tables and unknown values. A number follows if it is a
table: the relation with this number."""

_UNKNOWN: Final = f"{MARK}unknown"
_THIS: Final = f"{MARK}this"


@contextmanager
def quiet() -> Iterator[None]:
    """Let sqlglot log nothing about SQL that it does not understand: it is left out."""
    logger = logging.getLogger("sqlglot")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def table_number(table: Any) -> int | None:
    """Return the number of the relation that a table in the SQL stands for; None: for none.

    That is also so if the table's columns are renamed or pivoted there.
    """
    number = table.name.removeprefix(MARK)
    renamed = table.args.get("pivots") or table.alias_column_names
    plain = table.name.startswith(MARK) and number.isdigit() and not renamed
    return int(number) if plain and not table.args.get("db") else None


def first_branch(scope: Any) -> Any:
    """Return the scope of the first query of a `union` in sqlglot; None: it has none."""
    # sqlglot has called them `union_scopes` before.
    for name in ("set_operation_scopes", "union_scopes"):
        branches = getattr(scope, name, None)
        if branches:
            return branches[0]
    return None


class _NotKnownError(Exception):
    """The code depends on something that only dbt knows."""


class _Opaque:
    """A value that only dbt knows. It may be printed into the SQL; nothing may depend on it."""

    def __str__(self) -> str:
        return _UNKNOWN

    def __getattr__(self, name: str) -> _Opaque:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def _refuse(self, *_: object) -> Any:
        raise _NotKnownError

    __bool__ = __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = _refuse
    __iter__ = __len__ = __contains__ = __getitem__ = __add__ = __hash__ = _refuse


def renderings(code: str, relations: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the SQL of a model, twice if it is incremental; empty: it cannot be known.

    Either branch of an incremental model is run at times. `relations` are as in `columns_read`.
    """
    branches = (False, True) if "is_incremental" in code else (False,)
    found = [rendered(code, relations, incremental) for incremental in branches]
    return [sql for sql in found if sql is not None] if None not in found else []


def rendered(code: str, relations: Sequence[tuple[str, ...]], incremental: bool) -> str | None:
    """Return the SQL, with a marked name for each table; None: it cannot be known without dbt."""
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    def source(name: str, table: str) -> str:
        for number, relation in enumerate(relations):
            if relation[1:] == (name, table):
                return f"{MARK}{number}"
        raise _NotKnownError

    def ref(*names: str, version: object = None, v: object = None) -> str:
        wanted = version if v is None else v
        chosen = [
            (number, relation)
            for number, relation in enumerate(relations)
            if len(relation) == 4
            and relation[2] == names[-1]
            and (len(names) == 1 or relation[1] == names[0])
            and (wanted is None or relation[3] == str(wanted))
        ]
        if len(chosen) != 1:
            raise _NotKnownError
        return f"{MARK}{chosen[0][0]}"

    environment = SandboxedEnvironment(undefined=StrictUndefined, extensions=["jinja2.ext.do"])
    functions: Any
    for functions in (environment.filters, environment.tests):
        functions.update({name: _refusing_opaque(it) for name, it in functions.items()})
    opaque = _Opaque()
    try:
        return environment.from_string(code).render(
            config=lambda *_, **__: "",
            source=source,
            ref=ref,
            this=_THIS,
            target=opaque,
            var=lambda *_: opaque,
            env_var=lambda *_: opaque,
            is_incremental=lambda: incremental,
        )
    except (TemplateError, _NotKnownError, ArithmeticError, AttributeError, LookupError):
        return None
    except (RecursionError, TypeError, ValueError):
        return None


def _refusing_opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or test of Jinja that does not turn a value that only dbt knows into one."""

    @wraps(function)
    def refusing(*given: Any, **named: Any) -> Any:
        if any(isinstance(it, _Opaque) for it in (*given, *named.values())):
            raise _NotKnownError
        return function(*given, **named)

    return refusing
