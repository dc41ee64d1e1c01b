"""The instance of a sensor's ticks: opened once, and without connections between two ticks."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import psycopg
from conftest import write_instance
from devstack_fixtures import Database, PostgresServer
from freshline.sensor.instance import TickInstance


def context_of(folder: Path, database: Database) -> dg.SensorEvaluationContext:
    """Return the context in which a code server evaluates a sensor."""
    folder.mkdir(exist_ok=True)
    write_instance(folder, database)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        return dg.build_sensor_context(instance_ref=instance.get_ref())


def connections(database: Database) -> int:
    query = "select count(*) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
    with psycopg.connect(database.dsn) as connection:
        row = connection.execute(query, [database.name]).fetchone()
    assert row
    return int(row[0])


def test_the_next_tick_has_the_same_one(postgres_server: PostgresServer, tmp_path: Path) -> None:
    instances = TickInstance()
    with postgres_server.new_database() as database:
        with instances.of(context_of(tmp_path, database)) as first:
            first.get_runs()
            assert connections(database) == 1
        assert connections(database) == 0

        with instances.of(context_of(tmp_path, database)) as second:
            assert second is first
            assert [] == second.get_runs()


def test_a_tick_that_names_another_one_has_that(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    instances = TickInstance()
    with postgres_server.new_database() as one, postgres_server.new_database() as other:
        with instances.of(context_of(tmp_path / "one", one)) as instance:
            instance.add_dynamic_partitions("shops", ["a"])

        with instances.of(context_of(tmp_path / "other", other)) as instance:
            assert [] == instance.get_dynamic_partitions("shops")
        with instances.of(context_of(tmp_path / "one", one)) as instance:
            assert ["a"] == instance.get_dynamic_partitions("shops")
