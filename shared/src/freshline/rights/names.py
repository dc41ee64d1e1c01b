"""Which roles do locations have, and how are names and texts written in SQL?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from freshline.errors import RoleError

__all__ = ["instance_role", "literal", "problem_of_name", "refuse_bad_roles"]

_MOST_BYTES: Final = 63
"""Postgres cuts longer names off, so that two of them may become one."""

_RESERVED: Final = frozenset({"none", "public"})
"""No role can have these names, not even in quotes."""


def instance_role(location: str) -> str:
    """Return the role of `location` in Dagster's database. In the warehouse, it has its own name.

    They differ, because the two databases may be on one server, which has one set of roles.
    """
    return f"{location}_dagster"


def refuse_bad_roles(locations: Iterable[str]) -> None:
    """Raise `RoleError` if locations have no name that a role can have, or share a role."""
    names = set(locations)
    for location in sorted(names):
        role = instance_role(location)
        if location.lower() in _RESERVED:
            raise RoleError(
                f"location `{location}`: Postgres allows no role of this name. Rename the location."
            )
        problem = problem_of_name(role)
        if problem:
            raise RoleError(
                f"location `{location}`: its role in Dagster's database would be `{role}`, which "
                f"{problem}. Rename the location."
            )
        if role in names:
            raise RoleError(
                f"location `{role}`: its role in the warehouse has the name of the role that "
                f"`{location}` has in Dagster's database. Rename one of the two locations."
            )


def problem_of_name(name: str) -> str | None:
    """Return why Postgres has no role or schema of this name; None: it can have one."""
    if not name:
        return "is empty"
    if "\0" in name:
        return "has a null character"
    if name.startswith("pg_"):
        return "begins with `pg_`, as only Postgres's own names may"
    if len(name.encode()) > _MOST_BYTES:
        return f"has {len(name.encode())} bytes, and Postgres keeps {_MOST_BYTES} of a name"
    return None


def literal(text: str) -> str:
    """Return `text` as a string of SQL, whatever characters it has."""
    plain = "'" + text.replace("'", "''") + "'"
    # With a backslash the meaning depends on a setting of the session, unless it is marked.
    return "E" + plain.replace("\\", "\\\\") if "\\" in plain else plain
