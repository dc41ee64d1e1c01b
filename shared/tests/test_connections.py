"""Connections to Dagster's database that stay open, and are replaced when they are closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from conftest import write_instance
from devstack_fixtures import Database, PostgresServer
from engine_teams import until
from freshline.connections import keep_connections, kept_connections
from sqlalchemy import Engine, event

OTHERS = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    with postgres_server.new_database() as database:
        yield database


@pytest.fixture
def instance(database: Database, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    write_instance(tmp_path, database)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        keep_connections(instance)
        ask(instance)
        yield instance


def ask(instance: dg.DagsterInstance) -> None:
    """Ask each storage for something."""
    assert [] == instance.get_runs()
    assert [] == list(instance.get_asset_keys())
    assert [] == list(instance.all_instigator_state())


@contextmanager
def statements() -> Iterator[list[str]]:
    """Yield a list that gets each statement as long as the context is open."""
    said: list[str] = []

    def note(*arguments: Any) -> None:
        said.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def connections(database: Database) -> set[int]:
    with psycopg.connect(database.dsn) as connection:
        return {pid for (pid,) in connection.execute(f"select pid {OTHERS}".encode()).fetchall()}


def test_a_connection_is_used_again(instance: dg.DagsterInstance, database: Database) -> None:
    before = connections(database)
    for _ in range(3):
        ask(instance)

    assert 3 == len(before)  # one for each storage
    assert before == connections(database)


def test_one_that_the_database_has_closed_is_replaced(
    instance: dg.DagsterInstance, database: Database
) -> None:
    before = connections(database)
    with psycopg.connect(database.dsn) as connection:
        connection.execute(f"select pg_terminate_backend(pid) {OTHERS}".encode())

    ask(instance)

    assert connections(database).isdisjoint(before)


def test_they_end_with_the_context(database: Database, tmp_path: Path) -> None:
    write_instance(tmp_path, database)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        with kept_connections(instance):
            ask(instance)
            assert 3 == len(connections(database))

        until(lambda: not connections(database))
        ask(instance)  # it can be used as ever


def test_a_second_context_looks_up_no_tables_or_types(database: Database, tmp_path: Path) -> None:
    write_instance(tmp_path, database)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        with kept_connections(instance):
            ask(instance)
        with statements() as said, kept_connections(instance):
            ask(instance)

    assert any("FROM runs" in statement for statement in said)
    assert [] == [statement for statement in said if "pg_catalog" in statement]


def test_dagster_still_looks_up_its_tables_before_it_asks(
    database: Database, tmp_path: Path
) -> None:
    write_instance(tmp_path, database)  # if it does not any more, `_LOOKUPS` can go
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance, statements() as said:
        ask(instance)

    assert any("pg_attribute" in statement for statement in said)
    assert any("pg_class" in statement for statement in said)


def test_a_table_that_is_not_there_yet_is_looked_up_again(
    instance: dg.DagsterInstance, database: Database
) -> None:
    storage: Any = instance.event_log_storage
    assert not storage.has_table("later")
    with psycopg.connect(database.dsn) as connection:
        connection.execute("create table later ()")

    assert storage.has_table("later")


def test_an_instance_without_a_server_stays_as_it_is(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        keep_connections(instance)

        ask(instance)
