"""What a dbt test asserts, in plain words: the description of its asset check in Dagster's UI."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

__all__ = ["assertion"]

_SHOWN: Final = 10
"""At most this many values are written; the others are counted."""

_NAMES: Final = re.compile(r"""["']([^"']+)["']""")


def assertion(props: Mapping[str, Any]) -> str | None:
    """Return what the dbt test with these properties asserts, in Markdown.

    Its own description comes first. None: the resource is no test that is known here.
    """
    if props.get("description"):
        return str(props["description"])
    test = props.get("test_metadata")
    if not isinstance(test, Mapping):
        file = props.get("original_file_path")
        return f"The query in `{file}` returns no rows." if file else None
    where = " ".join(str((props.get("config") or {}).get("where") or "").split())
    return _generic(test) + (f" Only rows with `{where}` count." if where else "")


def _generic(test: Mapping[str, Any]) -> str:
    """Return what a generic test asserts: in a sentence if it is dbt's own, or freshline's."""
    kwargs = test.get("kwargs") or {}
    # Newer dbt lets projects write the arguments under a key of their own.
    given = {**(kwargs.get("arguments") or {}), **kwargs}
    sentence = _SENTENCES.get((test.get("namespace") or "", str(test.get("name"))))
    try:
        return sentence(given) if sentence else _named(test, given)
    except KeyError:
        # The project has a test of the same name, with other arguments.
        return _named(test, given)


def _not_null(given: Mapping[str, Any]) -> str:
    return f"`{given['column_name']}` is never null."


def _unique(given: Mapping[str, Any]) -> str:
    return f"No two rows have the same `{given['column_name']}`."


def _accepted_values(given: Mapping[str, Any]) -> str:
    return f"`{given['column_name']}` is always one of {_listed(given['values'])}, or null."


def _relationships(given: Mapping[str, Any]) -> str:
    # As in `source('postgres', 'stargazers_user')` or `ref('orders')`.
    to = str(given["to"])
    table = "/".join(_NAMES.findall(to)) or to
    return f"Each `{given['column_name']}` is in `{given['field']}` of `{table}`, or null."


def _accepted_range(given: Mapping[str, Any]) -> str:
    ends = [
        f"{words} `{given[end]}`"
        for end, words in (("min_value", "at least"), ("max_value", "at most"))
        if given.get(end) is not None
    ]
    return f"`{given['column_name']}` is {' and '.join(ends)}, or null."


def _unique_combination(given: Mapping[str, Any]) -> str:
    return f"No two rows have the same {_listed(given['columns'])} together."


def _running_total(given: Mapping[str, Any]) -> str:
    each = f", for each `{given['partition_by']}`" if given.get("partition_by") else ""
    total = f"`{given['column_name']}` is the sum of `{given['of']}`"
    return f"{total} up to each `{given['order_by']}`{each}."


_OWN: Final = "freshline_dbt"
"""The dbt package that comes with freshline."""

_SENTENCES: Final[Mapping[tuple[str, str], Callable[[Mapping[str, Any]], str]]] = {
    ("", "not_null"): _not_null,
    ("", "unique"): _unique,
    ("", "accepted_values"): _accepted_values,
    ("", "relationships"): _relationships,
    (_OWN, "accepted_range"): _accepted_range,
    (_OWN, "unique_combination"): _unique_combination,
    (_OWN, "running_total"): _running_total,
}


def _named(test: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return the name of a test that a package or the project has written, and its arguments."""
    name = ".".join(filter(None, [test.get("namespace"), test.get("name")]))
    on = f" on `{given['column_name']}`" if given.get("column_name") else ""
    arguments = [
        f"{key}: {_listed(value) if _is_list(value) else f'`{value}`'}"
        for key, value in given.items()
        if key not in ("model", "column_name", "arguments")
    ]
    said = f", with {'; '.join(arguments)}" if arguments else ""
    return f"The dbt test `{name}`{on} finds nothing{said}."


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _listed(values: Sequence[Any]) -> str:
    """Return values as in: `a`, `b` and 3 more."""
    names = [f"`{value}`" for value in values[:_SHOWN]]
    more = len(values) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
