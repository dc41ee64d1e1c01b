"""What tests of freshline share: real servers, and Dagster instances that stand on them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.storage.runs.schema import KeyValueStoreTable

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "devstack" / "testing"), str(ROOT / "shared" / "testing")]
sys.path.append(str(ROOT / "tests"))  # the package `support`, for the browser
pytest_plugins = ["devstack_fixtures", "quick_sqlite"]


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let programs that tests start be interrupted, also if the tests run in the background.

    A shell has such programs ignore SIGINT, and what they start inherits that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_instance(
    postgres_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    """One instance on Postgres for the session; take `instance`, which is empty."""
    with postgres_server.new_database() as database:
        home = tmp_path_factory.mktemp("postgres-home")
        write_instance(home, database)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance


@pytest.fixture(params=["postgres", "sqlite"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An empty instance: once on Postgres, as in production, once on Dagster's default."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres")
    else:
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            yield instance


@pytest.fixture
def postgres(postgres_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An empty instance on Postgres, where only its behaviour matters."""
    postgres_instance.wipe()
    with postgres_instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(KeyValueStoreTable.delete())  # which `wipe` leaves
    return postgres_instance


@pytest.fixture
def memory() -> Iterator[dg.DagsterInstance]:
    """An empty instance in memory, where the storage does not matter."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def write_instance(home: Path, database: Any) -> None:
    """Write a dagster.yaml that keeps everything in `database`."""
    settings = {
        "telemetry": {"enabled": False},
        "storage": {
            "postgres": {
                "postgres_db": {
                    # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3.
                    "scheme": "postgresql+psycopg2",
                    "hostname": database.host,
                    "port": database.port,
                    "username": database.user,
                    "password": database.password,
                    "db_name": database.name,
                }
            }
        },
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
