"""mart_gh_cumulative and mart_gh_join, built by dbt in a real Postgres: rows in, rows out."""

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
    """Stars (repository, user, login, when) as ingestion lands them."""
    warehouse.insert(
        "postgres.stargazers",
        "repository user_id starred_at _airbyte_extracted_at",
        *((repository, user, utc(when), utc("2026-01-01")) for repository, user, _, when in stars),
    )


def publish(warehouse: Any, *stars: tuple[str | None, int, str, str]) -> None:
    """Stars (repository, user, login, when) as analytics_core builds its mart."""
    warehouse.insert(
        "mart.mart_gh_stargazer",
        "repository user_id user_login starred_at",
        *((repository, user, login, utc(when)) for repository, user, login, when in stars),
    )


def months_of(warehouse: Any) -> list[tuple[Any, ...]]:
    return warehouse.rows("select * from mart.mart_gh_cumulative order by month")


def join_of(warehouse: Any) -> list[tuple[Any, ...]]:
    return warehouse.rows("select * from mart.mart_gh_join order by repository, month")


def test_stars_by_month_and_repository(warehouse: Any, build: Any) -> None:
    stars = [
        ("acme/tools", 30, "cleo", "2020-04-05 12:00:00"),
        # Not sorted, and the last second of January in UTC; two in the same second.
        ("acme/tools", 10, "ada", "2020-01-31 23:59:59"),
        ("acme/tools", 20, "bob", "2020-01-31 23:59:59"),
        # The first second of February, by someone who starred another repository before.
        ("acme/other", 10, "ada", "2020-02-01 00:00:00"),
        ("acme/tools", 40, "dora", "2020-04-01 00:00:00"),
        ("acme/other", 20, "bob", "2020-04-30 00:00:00"),
    ]
    land(warehouse, *stars)
    publish(warehouse, *stars)

    result = build(dbt_models, dbt)

    assert [
        (date(2020, 1, 1), 2, 2),
        (date(2020, 2, 1), 1, 3),
        (date(2020, 3, 1), 0, 3),  # a month without stars
        (date(2020, 4, 1), 3, 6),
    ] == months_of(warehouse)
    january, february, march, april = (date(2020, month, 1) for month in (1, 2, 3, 4))
    last_second = utc("2020-01-31 23:59:59")
    none = (0, None, None, None)
    # Stars and running total; stargazers, first and latest star, and whose the latest is; stars
    # of all repositories, share of them. Nothing before a repository's first star.
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
    def read(key: str, data_time: datetime) -> None:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(key.split("/"), metadata=data_time_metadata(data_time))
        )

    read("postgres/stargazers", utc("2026-01-02"))
    read("mart/mart_gh_stargazer", utc("2026-01-01"))

    result = build(dbt_models, dbt)

    assert {
        CUMULATIVE: utc("2026-01-02").timestamp(),
        JOIN: utc("2026-01-01").timestamp(),
    } == {key: found["freshline/data_time"].value for key, found in result.metadata.items()}
    assert all("freshline/lag_seconds" in found for found in result.metadata.values())


def test_inputs_of_different_age_lose_nothing(warehouse: Any, build: Any) -> None:
    """The join's two inputs are rebuilt at their own pace: each may know months of its own."""
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
        (date(2020, 2, 1), 0, 1, 1, None),  # known to mart_gh_cumulative alone
        (date(2020, 3, 1), 1, 2, 1, utc("2020-03-15")),  # known to mart_gh_stargazer alone
    ] == [
        (month, stars, total, everyone, latest)
        for _, month, stars, total, _, _, latest, _, everyone, _ in join_of(warehouse)
    ]
    # A run of one asset builds and tests that one.
    assert {JOIN: 3} == result.row_counts
    assert dict.fromkeys(CHECKS[JOIN], True) == result.checks


def test_no_stars_in_a_developers_schema(
    warehouse: Any, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_SCHEMA_PREFIX", "ada_")

    result = build(dbt_models, dbt)

    assert {CUMULATIVE: 0, JOIN: 0} == result.row_counts, "keys are the same in every target"
    assert dict.fromkeys(ALL_CHECKS, True) == result.checks
    assert [
        ("ada_mart", "mart_gh_cumulative"),
        ("ada_mart", "mart_gh_join"),
        ("mart", "mart_gh_stargazer"),  # the other team's, read where it is
    ] == warehouse.rows(
        "select schemaname, tablename from pg_tables where tablename like 'mart_gh_%' order by 1, 2"
    )


def test_a_broken_contract_stops_the_model_it_breaks(warehouse: Any, build: Any) -> None:
    land(warehouse, ("acme/tools", 10, "ada", "2020-01-01 00:00:00"))
    publish(warehouse, (None, 10, "ada", "2020-01-01 00:00:00"))

    result = build(dbt_models, dbt)

    assert not result.success
    assert {CUMULATIVE: 1} == result.row_counts
    assert 'null value in column "repository" of relation "mart_gh_join' in result.error
