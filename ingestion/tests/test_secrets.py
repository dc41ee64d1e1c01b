"""Digests of secrets, where they are kept, and secrets hidden in a text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from ingestion.airbyte.secrets import Redactor, WarehouseDigests, digest, matches
from ingestion.settings import warehouse_conninfo


class TestDigest:
    def test_matches_only_its_own_secret(self):
        known = digest("correct horse")

        assert matches("correct horse", known)
        assert not matches("correct hors", known)

    def test_is_different_every_time(self):
        assert digest("correct horse") != digest("correct horse")


class TestRedactor:
    def test_hides_the_longest_first(self):
        assert "a ******** b" == Redactor("secret", "secret-longer")("a secret-longer b")

    def test_does_not_hide_very_short_secrets(self):
        assert "abc" == Redactor("b", None, "")("abc")


class TestWarehouse:
    @pytest.fixture
    def conninfo(self, database):
        return warehouse_conninfo(database.environ("WAREHOUSE"))

    def test_digests_are_kept_until_forgotten(self, conninfo):
        store = WarehouseDigests(conninfo)

        assert {} == store.read("source-1")
        store.write("source-1", {"token": "d1", "other": "d2"})
        store.write("source-2", {"token": "d3"})
        assert {"token": "d1", "other": "d2"} == store.read("source-1")
        store.write("source-1", {"token": "d4"})
        assert {"token": "d4"} == store.read("source-1")
        store.forget("source-1")
        assert {} == store.read("source-1")
        assert {"token": "d3"} == store.read("source-2")

    def test_first_writes_at_the_same_time_succeed(self, conninfo):
        def write(number: int) -> None:
            WarehouseDigests(conninfo).write(f"source-{number}", {"token": "d"})

        with ThreadPoolExecutor(4) as people:
            list(people.map(write, range(8)))

        assert [{"token": "d"}] * 8 == [
            WarehouseDigests(conninfo).read(f"source-{n}") for n in range(8)
        ]

    def test_another_role_cannot_read_the_digests(self, conninfo):
        WarehouseDigests(conninfo).write("source-1", {"token": "d"})
        with psycopg.connect(**conninfo) as connection:
            connection.execute("create role another_role")
            try:
                connection.execute("set role another_role")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("select * from ingestion.airbyte_secret_digests")
            finally:
                connection.rollback()
