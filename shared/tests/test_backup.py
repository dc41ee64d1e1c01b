"""Back up and restore as docs/operations.md says, with everything real, and go on where it was.

Two teams, the daemon, workers, a broker and Postgres. Some things happen, the databases are dumped,
everything is lost, the dumps are restored, and everything is started again.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import psycopg
import pytest
import yaml
from conftest import ROOT, write_instance
from devstack_fixtures import Database, PostgresServer
from engine_teams import Teams, running_teams, until
from freshline.engine.broker import Broker, Worker
from freshline.sensor.outlook import Observer

Status = dg.DagsterRunStatus

CODE = '''
import os, time
from pathlib import Path
import dagster as dg
import psycopg
from freshline import max_lag, with_freshline

LOCATION = Path(__file__).stem
GATES = Path(__file__).parent / "gates"

def write(context, table):
    """Add a row to a table of the warehouse, which says which run made it."""
    with psycopg.connect(os.environ["WAREHOUSE_DSN"]) as warehouse:
        warehouse.execute(f"create table if not exists {table} (run text)")
        warehouse.execute(f"insert into {table} values (%s)", [context.run_id])

@dg.asset(key=["one", "rows"])
def rows(context):
    write(context, "rows")

@dg.asset(key=["one", "loose"])
def loose(context):
    """Nothing depends on it: no policy has anything made because of it."""
    write(context, "loose")

@dg.asset(key=["two", "patient"])
def patient(context):
    while not (GATES / context.run_id).exists() and not (GATES / "all").exists():
        time.sleep(0.05)
    write(context, "patient")

@dg.asset(key=["two", "sums"], deps=[["one", "rows"]], metadata=max_lag(minutes=60))
def sums(context):
    write(context, "sums")

assets = {"one": [rows, loose], "two": [patient, sums]}[LOCATION]
defs = with_freshline(
    dg.Definitions(assets, executor=dg.in_process_executor), location=LOCATION
)
'''


@dataclass(frozen=True)
class Restored:
    """What was there before the loss, after the restore, and when all had gone on."""

    before: dict[str, Any]
    after: dict[str, Any]
    taken: str
    """The run that was being made."""
    waiting: str
    """The run that was in the broker's queue and nowhere else."""
    retries: dict[str, str]
    """The run in which each of the two was made again."""
    runs: dict[str, dg.DagsterRunStatus]
    """All runs at the end."""
    reasons: dict[str, str]
    """Why each was requested, if a sensor has requested it."""
    rows: dict[str, list[str]]
    """Which runs have written into the tables of the warehouse, at the end."""


@pytest.fixture(scope="module")
def restored(
    broker_server: Any, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Restored]:
    folder: Path = tmp_path_factory.mktemp("backup")
    backup = tmp_path_factory.mktemp("dumps")
    with (
        postgres_server.new_database() as database,
        postgres_server.new_database() as warehouse,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("WAREHOUSE_DSN", warehouse.dsn)
        write_instance(folder, database)
        storage = yaml.safe_load((folder / "dagster.yaml").read_text())
        broker_url = broker_server().url
        environment = {
            **os.environ,
            **postgres_server.environ(),
            **database.environ("DAGSTER_PG"),
            **warehouse.environ("WAREHOUSE"),
            "FRESHLINE_BROKER_URL": broker_url,
            "BACKUP": str(backup),
        }
        with running_teams(folder, broker_url, storage, CODE) as teams:
            yield lose_and_restore(teams, postgres_server, database, warehouse, environment)


def lose_and_restore(
    teams: Teams,
    server: PostgresServer,
    database: Database,
    warehouse: Database,
    environment: dict[str, str],
) -> Restored:
    dump, restore, *_ = blocks("Back up and restore")
    instance = teams.instance
    instance.event_log_storage.set_concurrency_slots("warehouse", 4)
    until(lambda: instance.get_latest_materialization_event(dg.AssetKey(["two", "sums"])))
    until(lambda: all(run.is_finished for run in instance.get_runs()))
    taken, _ = teams.begin("patient", "two")
    waiting = launch_for_nobody(teams, "loose", "one")
    end(teams.daemon)

    now = time.time()
    before = state_of(instance, now)
    shell(dump, environment)

    # What happens after the dump is lost.
    instance.report_runless_asset_event(dg.AssetMaterialization(["one", "rows"]))
    with psycopg.connect(warehouse.dsn) as connection:
        connection.execute("insert into rows values ('lost')")
    assert state_of(instance, now) != before
    family = psutil.Process(teams.workers.pop("two").pid)
    for process in [family, *family.children(recursive=True)]:
        process.kill()
    for name in (database.name, warehouse.name):
        server.execute(f"drop database {name} with (force)")

    shell(restore, environment)
    after = state_of(instance, now)

    started = time.time()
    for location in ("one", "two"):
        teams.start_worker(location)
    teams.start_daemon()
    retries = {}
    for run_id in (taken, waiting):
        assert Status.FAILURE is teams.wait(run_id)
        retries[run_id] = until(lambda run_id=run_id: teams.retry_of(run_id)).run_id
        teams.open_gate(retries[run_id])
        assert Status.SUCCESS is teams.wait(retries[run_id])
    until(lambda: all(tick > started for tick in last_ticks(instance)))
    return Restored(
        before,
        after,
        taken,
        waiting,
        retries,
        {run.run_id: run.status for run in instance.get_runs()},
        {run.run_id: run.tags.get("freshline", "") for run in instance.get_runs()},
        {table: rows_of(warehouse, table) for table in ("rows", "loose", "patient", "sums")},
    )


def launch_for_nobody(teams: Teams, asset: str, location: str) -> str:
    """Launch a run that no worker takes: the location's last one has just said that it is there."""
    teams.stop_worker(location)
    broker, gone = Broker(teams.broker_url), Worker(f"{location}-gone", location, places=1)
    broker.say_worker(gone)
    run_id = teams.submit(asset, location)

    def is_launched() -> bool:
        broker.say_worker(gone)
        return f"The run waits for a worker of {location}" in teams.messages(run_id)

    until(is_launched)
    return run_id


def blocks(heading: str) -> list[str]:
    """Return the code blocks of a section of docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```\w*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def shell(commands: str, environment: dict[str, str]) -> None:
    """Run commands that must succeed, from the repository's root."""
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout


def end(program: subprocess.Popen[bytes]) -> None:
    program.terminate()
    program.wait(60)


def state_of(instance: dg.DagsterInstance, now: float) -> dict[str, Any]:
    """Return what a new process would know of the instance at `now`."""
    outlook = Observer().look(instance, now)
    return {
        "plan": outlook.plan,
        "versions, durations and runs": outlook.snapshot,
        "contracts": {
            location: (published.digest, published.published_at)
            for location, published in outlook.published.items()
        },
        "cursors": {
            state.selector_id: getattr(state.instigator_data, "cursor", None)
            for state in instance.all_instigator_state()
        },
        "pools": [(pool.name, pool.limit) for pool in instance.event_log_storage.get_pool_limits()],
        "runs": {run.run_id: run.status for run in instance.get_runs()},
    }


def last_ticks(instance: dg.DagsterInstance) -> list[float]:
    """Return when each sensor has ticked last."""
    return [
        getattr(state.instigator_data, "last_tick_timestamp", None) or 0.0
        for state in instance.all_instigator_state()
    ]


def rows_of(warehouse: Database, table: str) -> list[str]:
    with psycopg.connect(warehouse.dsn) as connection:
        return [run for (run,) in connection.execute(f"select run from {table}")]


@pytest.mark.parametrize(
    "what", ["plan", "versions, durations and runs", "contracts", "cursors", "pools", "runs"]
)
def test_all_is_as_it_was_at_the_dump(restored: Restored, what: str) -> None:
    assert restored.before[what] == restored.after[what]


def test_there_was_something_to_restore(restored: Restored) -> None:
    states = restored.before["versions, durations and runs"].assets

    assert ["one", "two"] == sorted(restored.before["contracts"])
    assert len([cursor for cursor in restored.before["cursors"].values() if cursor]) == 2
    assert states["two/sums"].durations.execution is not None
    assert ("warehouse", 4) in restored.before["pools"]
    assert (Status.STARTED, Status.STARTING) == (
        restored.before["runs"][restored.taken],
        restored.before["runs"][restored.waiting],
    )


def test_a_run_that_was_in_the_brokers_queue_alone_is_made_again(restored: Restored) -> None:
    assert Status.FAILURE is restored.runs[restored.waiting]
    assert Status.SUCCESS is restored.runs[restored.retries[restored.waiting]]
    assert [restored.retries[restored.waiting]] == restored.rows["loose"]


def test_a_run_that_was_being_made_is_made_again(restored: Restored) -> None:
    assert [restored.retries[restored.taken]] == restored.rows["patient"]


def test_nothing_else_is_requested_and_nothing_is_made_twice(restored: Restored) -> None:
    expected = {*restored.before["runs"], *restored.retries.values()}

    assert [] == [restored.reasons[run_id] for run_id in restored.runs.keys() - expected]
    assert "lost" not in restored.rows["rows"]
    for written in restored.rows.values():
        assert sorted(set(written)) == sorted(written)
