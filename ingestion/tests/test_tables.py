"""What is in a landed table, in a real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from ingestion.settings import warehouse_conninfo
from ingestion.tables import Content, read_content

TABLE = """
create table postgres.stars (id bigint, at timestamptz, _airbyte_extracted_at timestamptz);
insert into postgres.stars values
    (1, '2026-03-01T09:00Z', '2026-03-02T00:00:01Z'),
    (2, '2026-03-01T10:00Z', '2026-03-02T00:00:02Z'),
    (3, '2026-03-01T10:00Z', '2026-03-02T00:00:03.000001Z');
"""
UNTIL = datetime(2026, 3, 2, 0, 0, 3, 1, UTC)


@pytest.fixture
def execute(database) -> Callable[[str], None]:
    def run(sql: str) -> None:
        with psycopg.connect(database.dsn) as connection:
            connection.execute(sql)

    run("create schema postgres")
    return run


@pytest.fixture
def content(database) -> Callable[..., Content]:
    conninfo = warehouse_conninfo(database.environ("WAREHOUSE"))
    return lambda cursor="at", since=None: read_content(
        conninfo, "postgres", "stars", cursor=cursor, since=since
    )


@pytest.mark.usefixtures("execute")
def test_a_missing_table_has_no_rows_and_no_mark(content):
    assert Content(0) == content()


def test_a_table_that_does_not_say_when_rows_were_read_has_no_mark(execute, content):
    execute("create table postgres.stars (id bigint)")
    execute("insert into postgres.stars values (1), (2)")

    assert Content(2) == content()


def test_an_empty_table_has_a_mark(execute, content):
    execute(TABLE)
    execute("truncate postgres.stars")

    assert content().mark
    assert Content(0, content().mark) == content()


class TestMark:
    @pytest.mark.parametrize(
        "change",
        [
            "insert into postgres.stars values (4, '2026-03-01T08:00Z', now())",
            "delete from postgres.stars where id = 1",
            "truncate postgres.stars",
            "update postgres.stars set id = 5 where id = 3",
            "update postgres.stars set at = '2026-03-01T11:00Z' where id = 3",
            "update postgres.stars set at = '2026-03-01T10:00Z' where id = 1",
            "alter table postgres.stars add column login text",
            "alter table postgres.stars alter column id type text",
            "alter table postgres.stars drop column id",
        ],
    )
    def test_a_change_changes_it(self, execute, content, change):
        execute(TABLE)
        before = content()
        again = content()
        execute(change)

        assert before == again
        assert before.mark != content().mark

    def test_rows_that_are_read_again_do_not_change_it(self, execute, content):
        execute(TABLE)
        before = content()
        execute("update postgres.stars set _airbyte_extracted_at = now()")

        assert before.mark == content().mark
        assert before.extracted_until < content().extracted_until


class TestWritten:
    def test_all_rows_were_written_since_ever(self, execute, content):
        execute(TABLE)
        found = content()

        assert (3, UNTIL) == (found.rows, found.extracted_until)
        assert (3, 1) == (found.written, found.written_elsewhere)

    def test_the_row_that_was_read_last_was_not_written_since(self, execute, content):
        execute(TABLE)

        assert (0, 0) == ((found := content(since=UNTIL)).written, found.written_elsewhere)

    def test_rows_with_the_newest_cursor_are_told_from_others(self, execute, content):
        execute(TABLE)
        execute("update postgres.stars set _airbyte_extracted_at = now() where id < 3")

        assert (2, 1) == ((found := content(since=UNTIL)).written, found.written_elsewhere)

    @pytest.mark.parametrize("cursor", [None, "absent", "meta.updated_at"])
    def test_without_a_column_for_the_cursor_all_are_others(self, execute, content, cursor):
        execute(TABLE)
        found = content(cursor, since=None)

        assert found.mark
        assert (3, 3) == (found.written, found.written_elsewhere)
