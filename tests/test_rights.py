"""The workspace under `freshline roles`: each location with its own role, in both databases.

What is forbidden is tried in `shared/tests/test_rights.py`; here is all that has to work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from devstack_fixtures import Broker, Database, PostgresServer, Program
from freshline.rights import instance_sql
from support.dagster import HOST_BIN, LOCATIONS, ROOT, free_port
from support.processes import Daemon, await_port
from support.stars import write_stars
from support.waiting import wait_until

PASSWORD = "x"
OLD = "the_old_single_user"


@dataclass(frozen=True)
class Warehouse:
    """The warehouse of the demo, after a chain under the old single user and one under roles."""

    server: PostgresServer
    database: Database

    def run(self, role: str, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(
            host=self.database.host,
            port=self.database.port,
            user=role,
            password=PASSWORD,
            dbname=self.database.name,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def sql_for(database: str) -> str:
    """Return what `freshline roles` prints for this workspace."""
    done = subprocess.run(
        [HOST_BIN / "freshline", "roles", database, "-w", ROOT / "workspace.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def materialize(location: str, home: Path, environment: dict[str, str]) -> None:
    """Run all tables of a location in its own environment."""
    done = subprocess.run(
        [
            *(ROOT / location / ".venv" / "bin" / "dagster", "asset", "materialize"),
            *("-m", f"{location}.definitions", "--select", "kind:postgres"),
        ],
        cwd=home,
        env={**os.environ, **environment, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def warehouse(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    airbyte_server: Callable[..., Program],
    github_server: Callable[..., Program],
) -> Iterator[Warehouse]:
    home = tmp_path_factory.mktemp("rights")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    stars = home / "stars.csv"
    write_stars(stars, 3)
    github = github_server(stars=stars)
    postgres_server.execute(f"create role {OLD} login password '{PASSWORD}'")
    with (
        postgres_server.new_database() as airbyte_records,
        postgres_server.new_database() as database,
    ):
        postgres_server.execute(f"alter database {database.name} owner to {OLD}")
        airbyte = airbyte_server(database_url=airbyte_records.dsn)
        environment = {
            **database.environ("WAREHOUSE"),
            "WAREHOUSE_USER": OLD,
            "WAREHOUSE_PASSWORD": PASSWORD,
            "AIRBYTE_URL": airbyte.url,
            "AIRBYTE_CLIENT_ID": airbyte.client_id,
            "AIRBYTE_CLIENT_SECRET": airbyte.client_secret,
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": github.token,
            "GITHUB_REPOSITORY": github.repository,
        }
        for location in LOCATIONS:
            materialize(location, home, environment)

        postgres_server.execute(sql_for("warehouse"), database=database.name)
        own = {}
        for location in LOCATIONS:
            postgres_server.execute(f"alter role {location} password '{PASSWORD}'")
            own[location] = {
                **environment,
                "WAREHOUSE_USER": "nobody",
                f"WAREHOUSE_USER_{location}": location,
                f"WAREHOUSE_PASSWORD_{location}": PASSWORD,
            }
        write_stars(stars, 3, later=2)
        for location in LOCATIONS:
            materialize(location, home, own[location])
        yield Warehouse(postgres_server, database)
        for location in LOCATIONS:
            postgres_server.execute(f"drop owned by {location} cascade", database=database.name)
    for role in (*LOCATIONS, OLD):
        postgres_server.execute(f"drop role {role}")


def test_a_database_of_the_single_user_goes_on_under_the_roles(warehouse: Warehouse) -> None:
    owners = warehouse.run(
        "analytics_marts",
        "select n.nspname || '.' || c.relname, pg_get_userbyid(c.relowner) from pg_class c "
        "join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'v') "
        "and n.nspname in ('postgres', 'mart', 'airbyte_internal', 'ingestion')",
    )

    assert {
        "mart.mart_gh_stargazer": "analytics_core",
        "mart.mart_gh_cumulative": "analytics_marts",
        "mart.mart_gh_join": "analytics_marts",
    } == {name: owner for name, owner in owners if name.startswith("mart.")}
    assert {"ingestion"} == {owner for name, owner in owners if not name.startswith("mart.")}
    assert [(5,)] == warehouse.run("analytics_marts", "select sum(stars) from mart.mart_gh_join")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("analytics_core", "drop table mart.mart_gh_join"),
        ("analytics_core", "select * from mart.mart_gh_join"),
        ("analytics_core", "create table public.mine (id int)"),
        ("analytics_marts", "create table postgres.mine (id int)"),
        ("analytics_marts", "update mart.mart_gh_stargazer set user_login = ''"),
        ("analytics_marts", "select * from airbyte_internal.state"),
        ("analytics_marts", "select * from ingestion.airbyte_secrets"),
        ("ingestion", "select * from mart.mart_gh_stargazer"),
        ("ingestion", "create table mart.mine (id int)"),
    ],
)
def test_what_no_contract_needs_is_refused(warehouse: Warehouse, role: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        warehouse.run(role, statement)


def test_grants_of_a_dbt_project_work_beside_the_roles(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    project = tmp_path / "dbt_project_1"
    shutil.copytree(ROOT / "analytics_core" / "dbt_project_1", project)
    settings = project / "dbt_project.yml"
    text = settings.read_text()
    assert "      +materialized: table\n" in text
    grants = "      +materialized: table\n      +grants: {select: [a_dashboard]}\n"
    settings.write_text(text.replace("      +materialized: table\n", grants))
    warehouse.server.execute("create role a_dashboard")
    try:
        done = subprocess.run(
            [ROOT / "analytics_core" / ".venv" / "bin" / "dbt", "build"],
            cwd=project,
            env={
                **os.environ,
                **warehouse.database.environ("WAREHOUSE"),
                "WAREHOUSE_USER": "analytics_core",
                "WAREHOUSE_PASSWORD": PASSWORD,
                "DBT_PROFILES_DIR": str(project),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout
        readers = warehouse.run(
            "analytics_core",
            "select rolname from pg_roles where rolname in ('a_dashboard', 'analytics_marts') and "
            "has_table_privilege(oid, 'mart.mart_gh_stargazer', 'select') order by 1",
        )
    finally:
        name = warehouse.database.name
        warehouse.server.execute("drop owned by a_dashboard", database=name)
        warehouse.server.execute("drop role a_dashboard")

    assert [("a_dashboard",), ("analytics_marts",)] == readers


def test_a_tick_and_runs_need_no_more_than_a_locations_role_has(
    postgres_server: PostgresServer,
    broker_server: Callable[..., Broker],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host has the owner's account, code server and workers that of the location."""
    text = (ROOT / "dagster.yaml").read_text().replace("granularity: run", "granularity: op")
    (tmp_path / "dagster.yaml").write_text(text)
    with postgres_server.new_database() as database:
        host = {
            **os.environ,
            **database.environ("DAGSTER_PG"),
            "DAGSTER_HOME": str(tmp_path),
            "FRESHLINE_BROKER_URL": broker_server().url,
        }
        for name, value in host.items():
            monkeypatch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            postgres_server.execute(instance_sql(["rights"]), database=database.name)
            postgres_server.execute(f"alter role rights_dagster password '{PASSWORD}'")
            daemons = start_location(tmp_path, host)
            try:
                daemons.append(start_daemon(tmp_path, host))
                wait_until(lambda: all_is_done(instance), "all runs", seconds=240)
            finally:
                for daemon in daemons:
                    daemon.kill()
        output = "".join(daemon.output() for daemon in daemons)
        assert "permission denied" not in output
        postgres_server.execute("drop owned by rights_dagster", database=database.name)
    postgres_server.execute("drop role rights_dagster")


def start_location(home: Path, host: dict[str, str]) -> list[Daemon]:
    """Start the code server of the location and its workers, under its role."""
    port = free_port()
    (home / "workspace.yaml").write_text(
        f"load_from:\n  - grpc_server: {{location_name: rights, host: 127.0.0.1, port: {port}}}\n"
    )
    environment = {**host, "DAGSTER_PG_USER": "rights_dagster", "DAGSTER_PG_PASSWORD": PASSWORD}
    code = ("-f", ROOT / "tests" / "support" / "rights_location.py")
    server = Daemon(
        [HOST_BIN / "freshline", "serve", "rights", "--port", str(port), *code],
        cwd=home,
        env=environment,
        log=home / "server.log",
    )
    workers = Daemon(
        [HOST_BIN / "freshline", "worker", "rights", *code],
        cwd=home,
        env=environment,
        log=home / "workers.log",
    )
    await_port(server, port, seconds=120)
    return [server, workers]


def start_daemon(home: Path, host: dict[str, str]) -> Daemon:
    command = [HOST_BIN / "dagster-daemon", "run", "-w", home / "workspace.yaml"]
    return Daemon(command, cwd=home, env=host, log=home / "daemon.log")


def all_is_done(instance: dg.DagsterInstance) -> bool:
    """Return whether every kind of run has ended as it should, and the failure was heard."""
    made = all(
        instance.get_latest_materialization_event(dg.AssetKey(["rights", name])) is not None
        for name in ("table", "tenant", "heard")
    )
    runs = instance.get_runs()
    wrong = [run.run_id for run in runs if run.is_failure_or_canceled and run.job_name != "failing"]
    assert [] == wrong
    made = made and any(run.is_success for run in runs if run.job_name == "pooled")
    return made and instance.has_dynamic_partition("tenants", "new")
