"""A plan as people read it: nested, one line for each difference, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from rich.text import Text

from ingestion.airbyte.compare import Change
from ingestion.airbyte.plan import ObjectPlan

__all__ = ["lines_of"]

_STYLES: Final = {"+": "green", "-": "red", "~": "yellow"}
_INDENT: Final = "    "

_SECRETS: Final = {
    "+": "(secret)",
    "-": "(secret)",
    "new": "(secret, rotated since it was last applied)",
    "set": "(secret, cannot be compared until it is applied once)",
}


def lines_of(plan: ObjectPlan) -> Iterator[Text]:
    """Yield the lines of one object's plan; no lines if nothing changes."""
    for note in plan.notes:
        yield Text(f"! {plan.kind} {plan.name}: {note}", style="dim")
    if plan.empty:
        return
    operation = "+" if plan.id is None else "~"
    yield _line(0, operation, f"{plan.kind} {plan.name}")
    shown: tuple[str, ...] = ()
    # A new object is shown in the order of its declaration, differences are sorted by path.
    changes = plan.changes if plan.id is None else sorted(plan.changes, key=lambda one: one.path)
    for change in changes:
        outer, name = change.path[:-1], change.path[-1]
        common = 0
        while common < min(len(outer), len(shown)) and outer[common] == shown[common]:
            common += 1
        for depth in range(common, len(outer)):
            # A parent of a change is marked as changed, unless the whole object is new.
            yield _line(depth + 1, "+" if operation == "+" else "~", outer[depth])
        shown = outer
        yield _line(len(outer) + 1, change.operation, f"{name}: {_values(change)}")


def _line(depth: int, operation: str, words: str) -> Text:
    return Text(f"{_INDENT * depth}{operation} {words}", style=_STYLES[operation])


def _values(change: Change) -> str:
    if change.secret:
        return _SECRETS.get(str(change.new)) or _SECRETS.get(change.operation, "(secret)")
    if change.operation == "~":
        return f"{_value(change.old)} -> {_value(change.new)}"
    return _value(change.new if change.operation == "+" else change.old)


def _value(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some servers write 9 as 9.0
    return json.dumps(value, ensure_ascii=False, default=str)
