"""The embedded Airbyte as a real process over a real Postgres, for each test module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from helpers_airbyte import Airbyte, register_fake


@pytest.fixture(scope="module")
def control(postgres_server: Any) -> Iterator[Any]:
    """The database that the server keeps its own records in."""
    with postgres_server.new_database() as database:
        yield database


@pytest.fixture(scope="module")
def server(airbyte_server: Any, control: Any, tmp_path_factory: Any) -> Iterator[Any]:
    program = airbyte_server(
        database_url=control.dsn,
        connectors=register_fake(tmp_path_factory.mktemp("connectors")),
        faults=True,
    )
    yield program
    program.stop()


@pytest.fixture
def airbyte(server: Any) -> Iterator[Airbyte]:
    """A client of the server; faults left armed by a test are disarmed."""
    with Airbyte(server) as client:
        yield client
    with Airbyte(server) as client:
        client.delete(f"{server.url}/faults")


@pytest.fixture
def warehouse(database: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the test's new database, in which rows land."""
    with psycopg.connect(database.dsn, autocommit=True) as db:
        yield db
