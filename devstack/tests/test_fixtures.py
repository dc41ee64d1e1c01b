"""The pytest plugin that gives other projects real servers."""

from __future__ import annotations

import psycopg
from devstack_fixtures import Database, PostgresServer


class TestDatabase:
    """``database``."""

    def test_is_reached_over_tcp_with_a_password(self, database: Database) -> None:
        with psycopg.connect(database.dsn) as connection:
            row = connection.execute("select current_database(), current_user").fetchone()

        assert (database.name, database.user) == row

    def test_is_dropped_although_a_connection_stays_open(
        self, postgres_server: PostgresServer
    ) -> None:
        with postgres_server.new_database() as fresh:
            lingering = psycopg.connect(fresh.dsn)
        lingering.close()

        found = postgres_server.execute(f"select 1 from pg_database where datname = '{fresh.name}'")

        assert "" == found

    def test_environ_names_every_variable(self) -> None:
        fresh = Database("127.0.0.1", 5, "me", "a/b", "db")

        assert {
            "WAREHOUSE_HOST": "127.0.0.1",
            "WAREHOUSE_PORT": "5",
            "WAREHOUSE_USER": "me",
            "WAREHOUSE_PASSWORD": "a/b",
            "WAREHOUSE_DATABASE": "db",
        } == fresh.environ("WAREHOUSE")
        assert "postgresql://me:a%2Fb@127.0.0.1:5/db" == fresh.dsn
