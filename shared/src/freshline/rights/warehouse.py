"""The SQL that gives each location what it needs in the warehouse, and no more.

Postgres keeps rights by table, and gives a new table those that its owner has set as the default
for the schema. dbt replaces a table by a new one at each build, so a reader's right has to be such
a default. It therefore holds for all that an owner has in a schema, and not for a single table.

The SQL can be run again at any time: what is right already is not touched, so that no table has to
be waited for.
"""

from __future__ import annotations

from collections.abc import Iterator

from freshline.rights.needs import Needs
from freshline.rights.script import PASSWORDS, Facts, script

__all__ = ["warehouse_sql"]


def warehouse_sql(needs: Needs) -> str:
    """Return the SQL, to be run in the warehouse by its owner or by a superuser."""
    return script(
        [
            "Who owns which schema of the warehouse and who reads it, by `freshline roles`.",
            "Run it as a superuser, or as the database's owner with the right to create roles.",
            PASSWORDS,
            "Everybody loses the right to connect, and to use the schema public, that a new",
            "database gives them. Grant both to those who are not in this list and need them.",
            *(["Not covered:"] if needs.uncovered else []),
            *needs.uncovered,
        ],
        _facts(needs),
        *("team.sql", "warehouse.sql"),
    )


def _facts(needs: Needs) -> Iterator[Facts]:
    yield Facts(
        "The code locations; each has a role of its name.",
        "team",
        ("role",),
        [(name,) for name in needs.locations],
    )
    yield Facts(
        "Who writes into which schema.",
        "writer",
        ("schema", "role"),
        [(schema, name) for schema, names in needs.writers.items() for name in names],
    )
    yield Facts(
        "Whose each table is in the schemas that several write.",
        "made",
        ("schema", "name", "role"),
        [(*table, owner) for table, owner in needs.tables.items()],
    )
    yield Facts(
        "Who reads what others make, in which schema.",
        "reading",
        ("reader", "owner", "schema"),
        [tuple(read) for read in needs.reads],
        [
            f"{read.reader} reads {', '.join(found.imported)}"
            + (f", and can read {', '.join(found.others)}" if found.others else "")
            for read, found in needs.reads.items()
        ],
    )
