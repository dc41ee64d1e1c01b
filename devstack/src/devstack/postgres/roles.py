"""The roles of the code locations in the warehouse, and who may enter which database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

from devstack.errors import DevstackError
from devstack.postgres.databases import hashed_password


def close_databases(superuser: str, databases: Iterable[str]) -> None:
    """Let only their owners, and those that have been named, enter the databases that exist."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        for name in databases:
            if _is_open(connection, name):
                connection.execute(
                    sql.SQL("revoke connect, temporary on database {} from public").format(
                        sql.Identifier(name)
                    )
                )


def apply_roles(
    superuser: str, database: str, statements: str, *, passwords: Mapping[str, str], reader: str
) -> list[str]:
    """Run the SQL of `freshline roles` in a database, and let its roles in.

    `passwords` are those of the roles, by name. `reader` is a role of people: it may read every
    table. Returns what Postgres warned of. Raises `DevstackError` if it refuses the SQL.
    """
    warnings: list[str] = []
    with psycopg.connect(superuser, dbname=database, autocommit=True) as connection:

        def hear(notice: psycopg.errors.Diagnostic) -> None:
            if notice.severity_nonlocalized == "WARNING":
                warnings.append(notice.message_primary or "")

        connection.add_notice_handler(hear)
        try:
            connection.execute(statements.encode())
        except psycopg.Error as error:
            raise DevstackError(
                f"the rights in the database {database} could not be brought up to date: "
                f"{error.diag.message_primary or error} {error.diag.message_hint or ''}".strip()
            ) from error
        for role, password in passwords.items():
            if not _can_enter(superuser, database, role, password):
                connection.execute(
                    sql.SQL("alter role {} with login password {}").format(
                        sql.Identifier(role),
                        sql.Literal(hashed_password(connection, role, password)),
                    )
                )
        connection.execute(sql.SQL("grant pg_read_all_data to {}").format(sql.Identifier(reader)))
    return warnings


def _is_open(connection: psycopg.Connection, database: str) -> bool:
    found = connection.execute(
        "select true from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a"
        " where datname = %s and a.grantee = 0 limit 1",
        [database],
    ).fetchone()
    return found is not None


def _can_enter(superuser: str, database: str, role: str, password: str) -> bool:
    conninfo = psycopg.conninfo.make_conninfo(
        superuser, user=role, password=password, dbname=database, connect_timeout=10
    )
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True
