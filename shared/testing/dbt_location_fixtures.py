"""For the tests of a location that is one dbt project: its project, prepared, and a warehouse.

A pytest plugin beside `devstack_fixtures`, whose `database` it uses. A location loads both from
its ``pyproject.toml`` and names its own folder with ``dbt_project``, a path from there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

PREPARE = Path(__file__).resolve().parent.parent / "dbt" / "prepare.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("dbt_project", "folder of the location's dbt project", type="string")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before anything imports the location, which never runs dbt itself."""
    project = _project(session.config)
    subprocess.run([sys.executable, str(PREPARE), str(project)], check=True)


@pytest.fixture(scope="session")
def manifest(pytestconfig: pytest.Config) -> dict[str, Any]:
    """The dbt project's manifest."""
    path = _project(pytestconfig) / "target" / "manifest.json"
    parsed: dict[str, Any] = json.loads(path.read_text())
    return parsed


@dataclass(frozen=True)
class Warehouse:
    """A database with the tables that the project reads of other teams, empty."""

    connection: psycopg.Connection[Any]

    def insert(self, table: str, rows: Sequence[dict[str, object]]) -> None:
        """Put rows into ``"schema.name"``; columns that a row does not name are null."""
        for row in rows:
            self.connection.execute(
                sql.SQL("insert into {} ({}) values ({})").format(
                    sql.Identifier(*table.split(".")),
                    sql.SQL(", ").join(map(sql.Identifier, row)),
                    sql.SQL(", ").join(sql.Placeholder() * len(row)),
                ),
                list(row.values()),
            )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query answers. Times are in UTC."""
        return self.connection.execute(query.encode()).fetchall()

    def run(self, statement: str) -> None:
        """Anything else."""
        self.connection.execute(statement.encode())


@pytest.fixture
def warehouse(
    database: Any, manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Warehouse]:
    """A fresh warehouse; the environment points dbt at it.

    Other teams' tables have the columns that the project's sources declare: what it reads beyond
    them is not there.
    """
    for name, value in database.environ("WAREHOUSE").items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute("set time zone 'UTC'")
        for source in manifest["sources"].values():
            schema = sql.Identifier(source["schema"])
            connection.execute(sql.SQL("create schema if not exists {}").format(schema))
            connection.execute(
                sql.SQL("create table {}.{} ({})").format(
                    schema,
                    sql.Identifier(source["identifier"]),
                    sql.SQL(", ").join(
                        sql.SQL("{} {}").format(
                            sql.Identifier(column["name"]), sql.SQL(column["data_type"])
                        )
                        for column in source["columns"].values()
                    ),
                )
            )
        yield Warehouse(connection)


def _project(config: pytest.Config) -> Path:
    return config.rootpath / str(config.getini("dbt_project"))
