"""mart_gh_cumulative and mart_gh_join, which dbt builds in a real Postgres from the rows given."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from analytics_marts.assets import dbt_models
from analytics_marts.resources import dbt
from freshline import data_time_metadata

CUMULATIVE = "mart/mart_gh_cumulative"
JOIN = "mart/mart_gh_join"
BOTH = (CUMULATIVE, JOIN)
CHECKS = {
    CUMULATIVE: {"one_row_a_month", "stars_are_counted", "cumulative_stars_add_up"},
    JOIN: {
        "latest_star_follows_first",
        "one_row_a_repository_and_month",
        "repository_is_known",
        "repository_stars_add_up",
        "repository_stars_are_counted",
        "share_is_a_part",
        "stargazers_are_counted",
    },
}
ALL_CHECKS = CHECKS[CUMULATIVE] | CHECKS[JOIN]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def land(warehouse: Any, *stars: tuple[str, int, str, str]) -> None:
    """Insert stars (repository, user, login, time) as ingestion lands them."""
    warehouse.insert(
        "postgres.stargazers",
        "repository user_id starred_at _airbyte_extracted_at",
        *((repository, user, utc(at), utc("2026-01-01")) for repository, user, _, at in stars),
    )


def publish(warehouse: Any, *stars: tuple[str | None, int, str, str]) -> None:
    """Insert stars (repository, user, login, time) as analytics_core publishes them."""
    warehouse.insert(
        "mart.mart_gh_stargazer",
        "repository user_id user_login starred_at",
        *((repository, user, login, utc(at)) for repository, user, login, at in stars),
    )


def months_of(warehouse: Any) -> list[tuple[Any, ...]]:
    return warehouse.rows("select * from mart.mart_gh_cumulative order by month")


def join_of(warehouse: Any) -> list[tuple[Any, ...]]:
    return warehouse.rows("select * from mart.mart_gh_join order by repository, month")


def test_stars_are_counted_by_month_and_repository(warehouse: Any, build: Any) -> None:
    stars = [
        ("acme/tools", 30, "cleo", "2020-04-05 12:00:00"),
        # Out of order; two in the same second, the last one of January in UTC.
        ("acme/tools", 10, "ada", "2020-01-31 23:59:59"),
        ("acme/tools", 20, "bob", "2020-01-31 23:59:59"),
        # The first second of February, by somebody who starred another repository before.
        ("acme/other", 10, "ada", "2020-02-01 00:00:00"),
        ("acme/tools", 40, "dora", "2020-04-01 00:00:00"),
        ("acme/other", 20, "bob", "2020-04-30 00:00:00"),
    ]
    land(warehouse, *stars)
    publish(warehouse, *stars)

    result = build(dbt_models, dbt, *BOTH)

    assert [
        (date(2020, 1, 1), 2, 2),
        (date(2020, 2, 1), 1, 3),
        (date(2020, 3, 1), 0, 3),  # a month without stars
        (date(2020, 4, 1), 3, 6),
    ] == months_of(warehouse)
    january, february, march, april = (date(2020, month, 1) for month in (1, 2, 3, 4))
    last_second = utc("2020-01-31 23:59:59")
    none = (0, None, None, None)
    # The columns after the month: stars and their running total; stargazers, first star, latest
    # star and its user; stars of all repositories and the repository's share of them. A repository
    # has no rows for the months before its first star.
    everyone = (1, utc("2020-02-01"), utc("2020-02-01"), "ada")
    others = (1, utc("2020-04-30"), utc("2020-04-30"), "bob")
    first = (2, last_second, last_second, "bob")
    last = (2, utc("2020-04-01"), utc("2020-04-05 12:00:00"), "cleo")
    assert [
        ("acme/other", february, 1, 1, *everyone, 1, Decimal("1.0000")),
        ("acme/other", march, 0, 1, *none, 0, None),
        ("acme/other", april, 1, 2, *others, 3, Decimal("0.3333")),
        ("acme/tools", january, 2, 2, *first, 2, Decimal("1.0000")),
        ("acme/tools", february, 0, 2, *none, 1, Decimal("0.0000")),
        ("acme/tools", march, 0, 2, *none, 0, None),
        ("acme/tools", april, 2, 4, *last, 3, Decimal("0.6667")),
    ] == join_of(warehouse)
    assert {CUMULATIVE: 4, JOIN: 7} == result.row_counts
    assert dict.fromkeys(ALL_CHECKS, True) == result.checks
    assert ["postgres/stargazers.starred_at"] == result.column_lineage(CUMULATIVE)["month"]
    assert {
        "repository": ["mart/mart_gh_stargazer.repository"],
        "latest_starred_at": ["mart/mart_gh_stargazer.starred_at"],
        "month": ["mart/mart_gh_cumulative.month", "mart/mart_gh_stargazer.starred_at"],
    } == {
        column: result.column_lineage(JOIN)[column]
        for column in ("repository", "latest_starred_at", "month")
    }


def test_a_mart_is_as_old_as_its_oldest_input(warehouse: Any, build: Any, instance: Any) -> None:
    def materialize(key: str, data_time: datetime) -> None:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(key.split("/"), metadata=data_time_metadata(data_time))
        )

    materialize("postgres/stargazers", utc("2026-01-02"))
    materialize("mart/mart_gh_stargazer", utc("2026-01-01"))

    result = build(dbt_models, dbt, *BOTH)

    assert {
        CUMULATIVE: utc("2026-01-02").timestamp(),
        JOIN: utc("2026-01-01").timestamp(),
    } == {key: found["freshline/data_time"].value for key, found in result.metadata.items()}
    assert all("freshline/lag_seconds" in found for found in result.metadata.values())


def test_the_join_keeps_months_that_only_one_input_has(warehouse: Any, build: Any) -> None:
    """The two inputs are rebuilt at different times, so each may have months of its own."""
    ada, bob, cleo = (
        ("acme/tools", 10, "ada", "2020-01-15 00:00:00"),
        ("acme/tools", 20, "bob", "2020-02-15 00:00:00"),
        ("acme/tools", 30, "cleo", "2020-03-15 00:00:00"),
    )
    land(warehouse, ada, bob)
    build(dbt_models, dbt, CUMULATIVE)
    publish(warehouse, ada, cleo)

    result = build(dbt_models, dbt, JOIN)

    assert [
        (date(2020, 1, 1), 1, 1, 1, utc("2020-01-15")),
        (date(2020, 2, 1), 0, 1, 1, None),  # only in mart_gh_cumulative
        (date(2020, 3, 1), 1, 2, 1, utc("2020-03-15")),  # only in mart_gh_stargazer
    ] == [
        (month, stars, total, everyone, latest)
        for _, month, stars, total, _, _, latest, _, everyone, _ in join_of(warehouse)
    ]
    # A run of one asset builds and tests that one.
    assert {JOIN: 3} == result.row_counts
    assert dict.fromkeys(CHECKS[JOIN], True) == result.checks


def test_a_developer_builds_in_schemas_of_their_own(
    warehouse: Any, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_SCHEMA_PREFIX", "ada_")

    result = build(dbt_models, dbt, *BOTH)

    assert {CUMULATIVE: 0, JOIN: 0} == result.row_counts, "the keys have no prefix"
    assert dict.fromkeys(ALL_CHECKS, True) == result.checks
    assert [
        ("ada_mart", "mart_gh_cumulative"),
        ("ada_mart", "mart_gh_join"),
        ("mart", "mart_gh_stargazer"),  # the other team's, where that team builds it
    ] == warehouse.rows(
        "select schemaname, tablename from pg_tables "
        "where tablename in ('mart_gh_cumulative', 'mart_gh_join', 'mart_gh_stargazer') "
        "order by 1, 2"
    )


def test_a_row_that_breaks_the_contract_fails_only_its_model(warehouse: Any, build: Any) -> None:
    land(warehouse, ("acme/tools", 10, "ada", "2020-01-01 00:00:00"))
    publish(warehouse, (None, 10, "ada", "2020-01-01 00:00:00"))

    result = build(dbt_models, dbt, *BOTH)

    assert not result.success
    assert {CUMULATIVE: 1} == result.row_counts
    assert 'null value in column "repository" of relation "mart_gh_join' in result.error
