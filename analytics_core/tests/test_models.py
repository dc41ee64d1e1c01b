"""mart_gh_stargazer, which dbt builds in a real Postgres from the rows given."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from analytics_core.assets import dbt_models
from analytics_core.resources import dbt

MART = "mart/mart_gh_stargazer"
CHECKS = {
    "one_row_a_star",
    "starred_at_is_plausible",
    "user_id_is_positive",
    "user_is_known",
    "user_login_is_known",
}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def land(warehouse: Any, *stars: tuple[str, int, str | None, str | None]) -> None:
    """Insert stars (repository, user, login, time) as ingestion lands them."""
    warehouse.insert(
        "postgres.stargazers",
        "repository user_id starred_at _airbyte_extracted_at",
        *(
            (repository, user, at and utc(at), utc("2026-01-01"))
            for repository, user, _, at in stars
        ),
    )
    warehouse.insert(
        "postgres.stargazers_user",
        "repository user_id login",
        *((repository, user, login) for repository, user, login, _ in stars),
    )


def stars_of(warehouse: Any) -> list[tuple[Any, ...]]:
    return warehouse.rows("select * from mart.mart_gh_stargazer order by repository, user_id")


def test_each_star_becomes_a_row_with_its_login(warehouse: Any, build: Any) -> None:
    land(
        warehouse,
        ("acme/tools", 30, "cleo", "2020-03-05 12:00:00"),
        # Out of order; two in the same second.
        ("acme/tools", 10, "ada", "2020-01-31 23:59:59"),
        ("acme/tools", 20, "bob", "2020-01-31 23:59:59"),
        # A person who starred two repositories.
        ("acme/other", 10, "ada", "2020-02-01 00:00:00"),
        # Landed twice: the newest one counts.
        ("acme/other", 40, "dora", "2020-05-01 00:00:00"),
        ("acme/other", 40, "dora", "2020-01-01 00:00:00"),
    )

    result = build(dbt_models, dbt, MART)

    assert [
        ("acme/other", 10, "ada", utc("2020-02-01 00:00:00")),
        ("acme/other", 40, "dora", utc("2020-05-01 00:00:00")),
        ("acme/tools", 10, "ada", utc("2020-01-31 23:59:59")),
        ("acme/tools", 20, "bob", utc("2020-01-31 23:59:59")),
        ("acme/tools", 30, "cleo", utc("2020-03-05 12:00:00")),
    ] == stars_of(warehouse)
    assert {MART: 5} == result.row_counts
    assert dict.fromkeys(CHECKS, True) == result.checks
    assert {
        "repository": ["postgres/stargazers.repository"],
        "user_id": ["postgres/stargazers.user_id"],
        "user_login": ["postgres/stargazers_user.login"],
        "starred_at": ["postgres/stargazers.starred_at"],
    } == result.column_lineage(MART)
    assert [
        ("repository", "text"),
        ("user_id", "bigint"),
        ("user_login", "text"),
        ("starred_at", "timestamp with time zone"),
    ] == [
        (column.name, column.type)
        for column in result.metadata[MART]["dagster/column_schema"].value.columns
    ]


def test_a_failing_dbt_test_is_a_failed_check(warehouse: Any, build: Any) -> None:
    land(
        warehouse,
        ("acme/tools", -1, "ada", "2020-01-01 00:00:00"),
        ("acme/tools", 20, None, "2020-01-01 00:00:00"),
    )

    result = build(dbt_models, dbt, MART)

    assert {"user_id_is_positive", "user_login_is_known"} == result.failed_checks
    # user_id_is_positive is an error and fails the run; user_login_is_known is a warning.
    assert not result.success
    assert "user_id_is_positive" in result.error
    assert "user_login_is_known" not in result.error


def test_the_table_is_replaced_as_a_whole_or_not_at_all(warehouse: Any, build: Any) -> None:
    with another_team_creating_the_schema(warehouse.dsn):
        empty = build(dbt_models, dbt, MART)
    assert {MART: 0} == empty.row_counts
    assert dict.fromkeys(CHECKS, True) == empty.checks

    land(warehouse, ("acme/tools", 10, "ada", "2020-01-01 00:00:00"))
    with counting(warehouse.dsn, "mart.mart_gh_stargazer") as seen:
        build(dbt_models, dbt, MART)
    assert {0, 1} == seen, "readers found the old table or the new one, never none"

    land(warehouse, ("acme/tools", 20, "bob", None))
    broken = build(dbt_models, dbt, MART)
    assert not broken.success
    assert {} == broken.metadata, "nothing was materialized"
    assert 'null value in column "starred_at"' in broken.error
    assert [("acme/tools", 10, "ada", utc("2020-01-01"))] == stars_of(warehouse)


@contextmanager
def another_team_creating_the_schema(dsn: str) -> Iterator[None]:
    """Create the schema `mart` in a transaction that ends only when dbt waits for its lock."""

    def create() -> None:
        with psycopg.connect(dsn) as other, psycopg.connect(dsn, autocommit=True) as observer:
            other.execute("select pg_advisory_xact_lock(hashtext('freshline: create schema'))")
            other.execute("create schema mart")
            created.set()
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not over.wait(0.05):
                waiting = "select from pg_locks where locktype = 'advisory' and not granted"
                if observer.execute(waiting).fetchone() is not None:
                    waited.set()
                    return

    created, waited, over = threading.Event(), threading.Event(), threading.Event()
    team = threading.Thread(target=create)
    team.start()
    try:
        assert created.wait(60)
        yield
    finally:
        over.set()
        team.join()
    assert waited.is_set(), "dbt never waited for the other team"


@contextmanager
def counting(dsn: str, table: str) -> Iterator[set[object]]:
    """Count a table's rows again and again until the block ends.

    Yield the set of the counts and the messages of errors found so far.
    """
    seen: set[object] = set()
    over = threading.Event()

    def count() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while True:
                try:
                    ((rows,),) = connection.execute(f"select count(*) from {table}").fetchall()
                    seen.add(rows)
                except psycopg.Error as error:
                    seen.add(str(error))
                if over.wait(0.005):
                    return

    reader = threading.Thread(target=count)
    reader.start()
    try:
        yield seen
    finally:
        over.set()
        reader.join()
