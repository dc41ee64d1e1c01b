"""Databases and the roles that own them."""

from __future__ import annotations

import psycopg
from psycopg import sql


def ensure_database(superuser: str, *, database: str, user: str, password: str) -> None:
    """Make a database and the role `user` that owns it, unless that role can enter it already.

    A role that exists gets this password. `superuser` is a superuser's connection string.
    """
    own = psycopg.conninfo.make_conninfo(superuser, user=user, password=password, dbname=database)
    if _can_enter(own):
        return
    with psycopg.connect(superuser, autocommit=True) as connection:
        hashed = hashed_password(connection, user, password)
        known = connection.execute("select 1 from pg_roles where rolname = %s", [user]).fetchone()
        verb = "alter role" if known else "create role"
        connection.execute(
            sql.SQL(verb + " {} with login password {}").format(
                sql.Identifier(user), sql.Literal(hashed)
            )
        )
        known = connection.execute(
            "select 1 from pg_database where datname = %s", [database]
        ).fetchone()
        if not known:
            connection.execute(
                sql.SQL("create database {} owner {}").format(
                    sql.Identifier(database), sql.Identifier(user)
                )
            )


def hashed_password(connection: psycopg.Connection, user: str, password: str) -> str:
    """Return the password as Postgres keeps it, for `alter role`.

    Postgres logs each statement that fails, in full, so no statement has the password itself.
    """
    hashed = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
    return hashed.decode()


def has_table(superuser: str, database: str, table: str) -> bool:
    """Return whether a database has a table, named with its schema: `airbyte.connection`."""
    with psycopg.connect(superuser, dbname=database) as connection:
        found = connection.execute("select to_regclass(%s) is not null", [table]).fetchone()
    return bool(found and found[0])


def _can_enter(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo, connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True
