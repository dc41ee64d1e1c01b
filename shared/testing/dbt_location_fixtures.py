"""Fixtures for a location that is one dbt project: the prepared project and a warehouse.

A pytest plugin beside `devstack_fixtures`, whose Postgres it uses. A location loads both from
its ``pyproject.toml`` and names its dbt project's folder there, as ``dbt_project``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg import sql


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("dbt_project", "folder of the location's dbt project", type="string")
    parser.addoption("--write-lineage", action="store_true", help="accept the lineage as it is now")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Prepare the project before a test imports the location, which never runs dbt itself."""
    command = [sys.executable, "-m", "freshline.dbt.prepare", str(_project(session.config))]
    if subprocess.run(command, check=False).returncode != 0:
        pytest.exit("the dbt project could not be prepared: dbt's message is above", returncode=2)


@dataclass(frozen=True)
class Warehouse:
    """A database with empty tables for all that the project reads of other teams."""

    connection: psycopg.Connection[Any]
    dsn: str

    def insert(self, table: str, columns: str, *rows: Sequence[object]) -> None:
        """Insert rows into ``"schema.name"``; the values are in the order of `columns`."""
        names = columns.split()
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(*table.split(".")),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(sql.Placeholder() * len(names)),
        )
        with self.connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Times are in UTC."""
        return self.connection.execute(query.encode()).fetchall()

    def run(self, statement: str) -> None:
        """Run any other statement."""
        self.connection.execute(statement.encode())


@pytest.fixture(scope="session")
def warehouse_database(postgres_server: Any) -> Iterator[Any]:
    """One database for all tests: for every new one, dbt parses the project again, for 2 s."""
    with postgres_server.new_database() as database:
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            # Sessions have a time zone far from UTC. This must not change any result.
            name = sql.Identifier(database.name)
            zone = sql.SQL("alter database {} set timezone to 'Pacific/Auckland'").format(name)
            connection.execute(zone)
        yield database


@pytest.fixture
def warehouse(
    warehouse_database: Any, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Warehouse]:
    """A fresh warehouse; the environment points dbt at it.

    Other teams' tables have only the columns that the project's sources declare. A model that
    reads another column fails.
    """
    for name, value in warehouse_database.environ("WAREHOUSE").items():
        monkeypatch.setenv(name, value)
    manifest = json.loads((_project(pytestconfig) / "target" / "manifest.json").read_text())
    with psycopg.connect(warehouse_database.dsn, autocommit=True) as connection:
        connection.execute("set timezone to 'UTC'")
        for source in manifest["sources"].values():
            _create(connection, source)
        yield Warehouse(connection, warehouse_database.dsn)
        _drop_all(connection)


def _create(connection: psycopg.Connection[Any], source: dict[str, Any]) -> None:
    """Create the table of a dbt source."""
    schema = sql.Identifier(source["schema"])
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column["name"]), sql.SQL(column["data_type"]))
        for column in source["columns"].values()
    ]
    connection.execute(sql.SQL("create schema if not exists {}").format(schema))
    connection.execute(
        sql.SQL("create table {}.{} ({})").format(
            schema, sql.Identifier(source["identifier"]), sql.SQL(", ").join(columns)
        )
    )


def _drop_all(connection: psycopg.Connection[Any]) -> None:
    schemas = connection.execute(
        "select nspname from pg_namespace "
        "where nspname not like 'pg\\_%' and nspname not in ('public', 'information_schema')"
    )
    for (schema,) in schemas.fetchall():
        connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))


class Result:
    """What a run did: its success, metadata, checks and errors."""

    def __init__(self, result: dg.ExecuteInProcessResult) -> None:
        self.success = result.success
        self.metadata = {
            event.asset_key.to_user_string(): event.materialization.metadata
            for event in result.get_asset_materialization_events()
            if event.asset_key is not None
        }
        self.checks = {
            check.check_name: check.passed for check in result.get_asset_check_evaluations()
        }
        self.error = "\n".join(
            str(event.step_failure_data.error) for event in result.get_step_failure_events()
        )

    @property
    def row_counts(self) -> dict[str, object]:
        """The row count of each asset, as Dagster shows it."""
        return {key: found["dagster/row_count"].value for key, found in self.metadata.items()}

    @property
    def failed_checks(self) -> set[str]:
        return {name for name, passed in self.checks.items() if not passed}

    def column_lineage(self, key: str) -> dict[str, list[str]]:
        """Return the columns that each column of an asset comes from, as ``layer/table.column``."""
        lineage: Any = self.metadata[key]["dagster/column_lineage"].value
        return {
            column: sorted(f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps)
            for column, deps in lineage.deps_by_column.items()
        }


@pytest.fixture
def reviewed(pytestconfig: pytest.Config) -> Callable[[Path, object], Any]:
    """A function that reads a reviewed JSON file; with ``--write-lineage`` it writes it first."""

    def read(file: Path, found: object) -> Any:
        if pytestconfig.getoption("write_lineage"):
            file.write_text(json.dumps(found, indent=2) + "\n")
        return json.loads(file.read_text())

    return read


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A new instance for each test."""
    with dg.DagsterInstance.ephemeral() as fresh:
        yield fresh


@pytest.fixture
def build(
    warehouse: Warehouse,  # noqa: ARG001  (where it builds)
    instance: dg.DagsterInstance,
) -> Callable[..., Result]:
    """A function: ``build(assets, dbt, "mart/a")`` runs these assets, or all if none is named."""

    def run(assets: dg.AssetsDefinition, dbt: Any, *keys: str) -> Result:
        selection = [dg.AssetKey(key.split("/")) for key in keys] or None
        return Result(
            dg.materialize(
                [assets],
                resources={"dbt": dbt},
                instance=instance,
                selection=selection,
                raise_on_error=False,
            )
        )

    return run


def lineage(definitions: dg.Definitions) -> dict[str, Any]:
    """Return what other teams can see of a location, to compare with a reviewed file."""
    graph = definitions.resolve_asset_graph()
    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs()}
    return {
        node.key.to_user_string(): {
            "deps": sorted(key.to_user_string() for key in node.parent_keys),
            "group": node.group_name,
            "owners": sorted(node.owners),
            "kinds": sorted(node.kinds),
            "policy": specs[node.key].metadata.get("freshline/max_lag"),
            "checks": sorted(check.name for check in node.check_keys),
        }
        for node in sorted(graph.asset_nodes, key=lambda node: node.key)
        if node.is_materializable
    }


def _project(config: pytest.Config) -> Path:
    return config.rootpath / str(config.getini("dbt_project"))
