"""The view over the nested users, in a real Postgres."""

from __future__ import annotations

import json
from dataclasses import replace

import dagster as dg
import psycopg
import pytest
from ingestion.assets import view_of
from ingestion.connections import fetch_stargazer
from ingestion.errors import ViewError
from ingestion.settings import warehouse_conninfo
from ingestion.views import NestedView, ensure_view

TABLE = """
create schema if not exists postgres;
create table postgres.stargazers (
    _airbyte_raw_id text not null, _airbyte_extracted_at timestamptz not null,
    _airbyte_meta jsonb not null, _airbyte_generation_id bigint,
    repository text, user_id bigint, starred_at timestamptz, "user" jsonb
)
"""


@pytest.fixture
def conninfo(database) -> dict[str, str]:
    return warehouse_conninfo(database.environ("WAREHOUSE"))


@pytest.fixture
def view() -> NestedView:
    (stream,) = fetch_stargazer.streams
    return view_of(fetch_stargazer, stream, stream.nested[0])


def execute(conninfo, sql, *values):
    with psycopg.connect(**conninfo) as connection:
        done = connection.execute(sql, values)
        return done.fetchall() if done.description else []


def star(conninfo, user_id, user):
    execute(
        conninfo,
        "insert into postgres.stargazers values "
        "('r', now(), '{}', 0, 'acme/rocket', %s, now(), %s)",
        user_id,
        None if user is None else json.dumps(user),
    )


def oid(conninfo):
    return execute(conninfo, "select 'postgres.stargazers_user'::regclass::oid")


class TestView:
    def test_is_empty_when_there_is_no_table(self, conninfo, view):
        assert 0 == ensure_view(conninfo, view)
        assert [] == execute(conninfo, "select repository, login from postgres.stargazers_user")

    def test_shows_the_rows_once_the_table_is_there(self, conninfo, view):
        ensure_view(conninfo, view)
        execute(conninfo, TABLE)
        star(conninfo, 5, {"login": "ada", "id": 5, "type": "User", "site_admin": False})

        assert 1 == ensure_view(conninfo, view)
        assert [("acme/rocket", 5, "ada", 5, "User", False)] == execute(
            conninfo,
            "select repository, user_id, login, id, type, site_admin from postgres.stargazers_user",
        )

    def test_has_the_declared_columns(self, conninfo, view):
        execute(conninfo, TABLE)
        ensure_view(conninfo, view)
        columns = execute(
            conninfo,
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = 'postgres.stargazers_user'::regclass order by attnum",
        )

        assert [(one.name, one.type) for one in view.columns] == columns

    @pytest.mark.parametrize("user", [None, {}, {"login": None}, {"unheard": "of"}])
    def test_shows_nulls_for_missing_properties(self, conninfo, view, user):
        execute(conninfo, TABLE)
        star(conninfo, 5, user)

        assert 1 == ensure_view(conninfo, view)
        assert [(None,)] == execute(conninfo, "select login from postgres.stargazers_user")

    def test_is_not_replaced_when_it_is_as_declared(self, conninfo, view):
        execute(conninfo, TABLE)
        ensure_view(conninfo, view)
        with psycopg.connect(**conninfo) as reader:
            # A replacement would wait for this reader, and fail.
            reader.execute("select * from postgres.stargazers_user")
            assert 0 == ensure_view({**conninfo, "options": "-c lock_timeout=200"}, view)

    def test_gains_a_column(self, conninfo, view):
        execute(conninfo, TABLE)
        smaller = replace(view, columns=view.columns[:-1])
        ensure_view(conninfo, smaller)
        before = oid(conninfo)
        ensure_view(conninfo, view)

        assert before == oid(conninfo)

    def test_loses_a_column(self, conninfo, view):
        execute(conninfo, TABLE)
        ensure_view(conninfo, view)

        assert 0 == ensure_view(conninfo, replace(view, columns=view.columns[:-1]))

    def test_names_the_relation_that_forbids_a_change(self, conninfo, view):
        execute(conninfo, TABLE)
        ensure_view(conninfo, view)
        execute(conninfo, "create view public.report as select * from postgres.stargazers_user")

        with pytest.raises(ViewError, match="view report depends on view"):
            ensure_view(conninfo, replace(view, columns=view.columns[:-1]))

    def test_is_made_again_after_the_table_was_dropped(self, conninfo, view):
        execute(conninfo, TABLE)
        ensure_view(conninfo, view)
        execute(conninfo, "drop table postgres.stargazers cascade")
        execute(conninfo, TABLE)
        star(conninfo, 5, {"login": "ada"})

        assert 1 == ensure_view(conninfo, view)

    def test_names_are_quoted(self, conninfo):
        odd = NestedView(
            schema="Odd schema",
            name='a "view"',
            table="none",
            column="user",
            columns=[dg.TableColumn("it's", "text"), dg.TableColumn("%s", "jsonb")],
            kept=0,
        )

        assert 0 == ensure_view(conninfo, odd)
