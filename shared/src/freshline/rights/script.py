"""What the SQL of a database consists of: a heading, facts as tables, and statements about them.

The facts are temporary tables that the transaction drops at its end. So a reader finds what differs
from workspace to workspace in one place, before statements that are always the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from freshline.rights.names import literal

__all__ = ["PASSWORDS", "Facts", "comment", "script"]

PASSWORDS: Final = "A new role cannot enter until it has a password: \\password ROLE in psql."

_BEGIN: Final = """\
begin;
-- A busy table is not waited for longer: who comes later would have to wait too. Run it again then.
set local lock_timeout = '10s';
"""


@dataclass(frozen=True)
class Facts:
    """The rows of one temporary table; all values are texts."""

    about: str
    """What a row says: a sentence."""
    name: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str] = ()
    """Sentences about the rows."""

    def to_sql(self) -> str:
        """Return the statements that make the table."""
        columns = ", ".join(f"{column} text not null" for column in self.columns)
        lines = [comment(self.about), *map(comment, self.notes)]
        lines.append(f"create temporary table {self.name} ({columns}) on commit drop;")
        if self.rows:
            values = [f"  ({', '.join(map(literal, row))})" for row in self.rows]
            lines.append(f"insert into {self.name} values\n" + ",\n".join(values) + ";")
        return "\n".join([*lines, ""])


def script(heading: Iterable[str], facts: Iterable[Facts], *statements: str) -> str:
    """Return the SQL of a database, as one transaction.

    `heading` is a comment by lines, `statements` are files beside this module.
    """
    folder = files("freshline.rights")
    parts = ["\n".join(map(comment, heading)) + "\n", _BEGIN]
    parts += [each.to_sql() for each in facts]
    parts += [folder.joinpath(name).read_text(encoding="utf-8") for name in statements]
    return "\n".join([*parts, "commit;\n"])


def comment(text: str) -> str:
    """Return a comment of SQL, on one line whatever characters the text has."""
    return "-- " + " ".join(text.splitlines())
