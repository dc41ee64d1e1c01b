"""What a tick costs: from the event log of a real Postgres to the plan.

``.venv/bin/python bench/tick.py`` prints the table of the README's section "tick". For each
size it fills a fresh database with the history of a workspace (every asset made several times,
one failing, some runs queued and in progress), then measures, in a process of its own:

- the first tick after a location has started;
- a quiet tick: nothing has happened since the last one;
- a tick with heartbeats, of eight locations at most: so many come in 5 s from 100 locations;
- a tick after a run in every fifth location was queued;
- a busy tick: since the last one, a run in every tenth location has made all its assets.

CPU is that of the process, without Postgres, and without opening the instance, which Dagster does
for every tick (the last column). Memory is the most that the process had, less what it
had after its imports.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from own_postgres import own_postgres

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "shared" / "tests"))

SIZES = ((100, 1), (1_000, 10), (10_000, 100), (50_000, 100))
ROUNDS = 3  # how often every asset has been made
DEPTH = 5  # assets in a chain; the first reads another location's last
MAXIMUM_LAG = 1_440  # minutes: nothing is due while it is measured
TICKS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, help="only this size")
    arguments = parser.parse_args()

    with own_postgres() as server:
        print("| assets | locations | tick | CPU | wall | memory | to open the instance |")
        print("| ---: | ---: | --- | ---: | ---: | ---: | ---: |")
        for assets, locations in SIZES:
            if arguments.assets in (None, assets):
                with server.new_database() as database:
                    report(assets, locations, database)


def report(assets: int, locations: int, database: Any) -> None:
    with instance_on(database) as instance:
        fill(instance, assets, locations)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        for row in pool.apply(measure, (database, assets, locations)):
            name, cpu, wall, opening, memory = row
            print(
                f"| {assets:,} | {locations} | {name} | {cpu:.3f} s | {wall:.2f} s"
                f" | {memory:.0f} MB | {opening:.3f} s |",
                flush=True,
            )


# --- measuring ----------------------------------------------------------------------------


def measure(
    database: Any, assets: int, locations: int
) -> list[tuple[str, float, float, float, float]]:
    """Return rows of the table: name of the tick, CPU and wall seconds, those of CPU to open the
    instance, megabytes gained."""
    from freshline.contract import heartbeat, read_contracts
    from freshline.sensor.message import tick_message
    from freshline.sensor.outlook import Observer

    rows = []
    before = _peak_megabytes()
    observer = Observer()

    def tick() -> tuple[float, float, float]:
        # An instance of its own for every tick, as in a code server.
        begin = time.process_time()
        with instance_on(database) as instance:
            cpu, wall = time.process_time(), time.monotonic()
            outlook = observer.look(instance, time.time())
            tick_message(outlook, "team_000", (), {})
            return time.process_time() - cpu, time.monotonic() - wall, cpu - begin

    with instance_on(database) as instance:
        contracts = list(read_contracts(instance).values())
        for contract in contracts:
            instance.report_runless_asset_event(heartbeat(contract))
    rows.append(("first", *tick(), _peak_megabytes() - before))
    tick()  # what the first tick has read may just have happened
    quiet = [tick() for _ in range(TICKS)]
    rows.append(("quiet", *_medians(quiet), _peak_megabytes() - before))
    heard = []
    for _ in range(TICKS):
        with instance_on(database) as instance:
            for contract in contracts[:8]:
                instance.report_runless_asset_event(heartbeat(contract))
        heard.append(tick())
    rows.append(("heartbeats", *_medians(heard), _peak_megabytes() - before))
    with instance_on(database) as instance:
        # Not before: while a run takes longer than was expected, every tick plans.
        for location in range(0, locations, 5):
            create_run(instance, [members(assets, locations, location)[1][-1][0]])
    queued = [tick() for _ in range(TICKS)]
    rows.append(("queued runs", *_medians(queued), _peak_megabytes() - before))
    busy = []
    for number in range(TICKS):
        with instance_on(database) as instance:
            for location in range(number % 10, locations, 10):
                make(instance, members(assets, locations, location)[1], f"busy-{number}")
        busy.append(tick())
    rows.append(("busy", *_medians(busy), _peak_megabytes() - before))
    return rows


def _medians(ticks: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    cpu, wall, opening = map(median, zip(*ticks, strict=True))
    return cpu, wall, opening


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def instance_on(database: Any) -> Iterator[Any]:
    import dagster as dg
    from conftest import write_instance

    with tempfile.TemporaryDirectory() as home:
        write_instance(Path(home), database)
        with dg.DagsterInstance.from_config(home) as instance:
            yield instance


# --- a workspace and its past -------------------------------------------------------------


def members(assets: int, locations: int, location: int) -> tuple[str, list[tuple[str, list[str]]]]:
    """Return the name of a location, and its assets with their dependencies.

    The assets are chains of `DEPTH`. Every second chain begins at the end of one in the location
    before.
    """
    name = f"team_{location:03}"
    made = []
    for number in range(assets // locations):
        chain, place = divmod(number, DEPTH)
        key = f"{name}/asset_{number:04}"
        if place:
            deps = [f"{name}/asset_{number - 1:04}"]
        elif location and chain % 2:
            deps = [f"team_{location - 1:03}/asset_{chain * DEPTH + DEPTH - 1:04}"]
        else:
            deps = []
        made.append((key, deps))
    return name, made


def contract_of(name: str, made: list[tuple[str, list[str]]]) -> Any:
    from freshline.contract import Contract

    own = {key for key, _ in made}
    exports = [
        {
            "key": key,
            "deps": deps,
            "group": name,
            "columns": [{"name": f"column_{number}", "type": "text"} for number in range(5)],
            # Every chain ends in a target.
            **({"policy": {"minutes": MAXIMUM_LAG}} if number % DEPTH == DEPTH - 1 else {}),
        }
        for number, (key, deps) in enumerate(made)
    ]
    imports = [
        {"key": dep, "used_by": [key]} for key, deps in made for dep in deps if dep not in own
    ]
    return Contract.from_document(
        {
            "schema_version": 1,
            "location": name,
            "published_as": name,
            "tick_seconds": 5,
            "exports": exports,
            "imports": imports,
        }
    )


def fill(instance: Any, assets: int, locations: int) -> None:
    from freshline.connections import kept_connections
    from freshline.contract import contract_materialization

    with kept_connections(instance):
        for location in range(locations):
            name, made = members(assets, locations, location)
            instance.report_runless_asset_event(contract_materialization(contract_of(name, made)))
        for round_ in range(ROUNDS):
            for location in range(locations):
                make(instance, members(assets, locations, location)[1], f"round-{round_}")


def make(instance: Any, made: list[tuple[str, list[str]]], tag: str) -> None:
    """Write a run that makes all of a location's assets, with the events that a worker writes."""
    from dagster import AssetKey, AssetMaterialization, DagsterEventType, MetadataValue
    from dagster._core.execution.plan.objects import StepSuccessData

    run = create_run(instance, [key for key, _ in made])
    began = datetime.now(UTC) - timedelta(seconds=60)
    newest = newest_ids(instance, {dep for _, deps in made for dep in deps})
    log = Log(instance, run)
    log.status(DagsterEventType.RUN_STARTING)
    log.status(DagsterEventType.RUN_START)
    steps = {key: key.replace("/", "__") for key, _ in made}
    with log.writing():
        log.write_all(DagsterEventType.STEP_START, [(step, None) for step in steps.values()])
        for place in range(DEPTH):  # an asset has the id of what it read, so that is written first
            events = []
            for key, deps in made[place::DEPTH]:
                tags = {
                    f"dagster/input_event_pointer/{dep}": str(newest.get(dep, "NULL"))
                    for dep in deps
                }
                root = {} if deps else {"freshline/data_time": MetadataValue.timestamp(began)}
                materialization = AssetMaterialization(
                    AssetKey.from_user_string(key),
                    metadata={"rows": MetadataValue.int(1000), "tag": tag, **root},
                    tags=tags,
                )
                events.append((steps[key], materialization))
            ids = log.materialize_all(events)
            newest.update(zip((key for key, _ in made[place::DEPTH]), ids, strict=True))
        done = StepSuccessData(1000.0)  # type: ignore[no-untyped-call]  # Dagster gives no types
        log.write_all(DagsterEventType.STEP_SUCCESS, [(step, done) for step in steps.values()])
    log.status(DagsterEventType.RUN_SUCCESS)


def newest_ids(instance: Any, keys: set[str]) -> dict[str, int]:
    from freshline.history.events import EventLog

    latest = EventLog(instance).latest_versions(keys)
    return {key: made.id for key, (made, _) in latest.items() if made}


def create_run(instance: Any, keys: list[str]) -> Any:
    """Create a run as the daemon does, with its plan in the event log."""
    from dagster import AssetKey, DagsterEventType, DagsterRun, DagsterRunStatus
    from dagster._core.events import AssetMaterializationPlannedData
    from dagster._core.utils import make_new_run_id

    assets = [AssetKey.from_user_string(key) for key in keys]
    run = DagsterRun(
        job_name="__ASSET_JOB",
        run_id=make_new_run_id(),
        status=DagsterRunStatus.NOT_STARTED,
        asset_selection=frozenset(assets),
        tags={"freshline/plan": "bench"},
    )
    instance.add_run(run)
    log = Log(instance, run)
    with log.writing():
        log.write_all(
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            [
                (key.replace("/", "__"), AssetMaterializationPlannedData(asset_key=asset))
                for key, asset in zip(keys, assets, strict=True)
            ],
        )
    return run


class Log:
    """Writes a run's events as its worker does, but many in one transaction.

    No public function does that, and a hundred thousand real steps would take a day.
    """

    def __init__(self, instance: Any, run: Any) -> None:
        self._instance = instance
        self._storage = instance.event_log_storage
        # A fresh database is up to date. To ask would cost a connection for each event.
        self._storage.has_secondary_index = lambda _: True
        self._run = run

    def status(self, kind: Any) -> None:
        self._instance.handle_new_event(self._entry(kind, None, None))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        with self._storage.index_transaction() as self._connection:
            yield

    def write_all(self, kind: Any, events: list[tuple[str, Any]]) -> None:
        """Write events of a kind, each with its step and its data."""
        self._write([self._entry(kind, step, data) for step, data in events])

    def materialize_all(self, events: list[tuple[str, Any]]) -> list[int]:
        """Write materializations of different assets, each with its step. Return their ids."""
        from dagster import DagsterEventType
        from dagster._core.events import StepMaterializationData
        from dagster._core.storage.event_log.schema import AssetKeyTable
        from sqlalchemy.dialects import postgresql

        kind = DagsterEventType.ASSET_MATERIALIZATION
        entries = [self._entry(kind, step, StepMaterializationData(it, [])) for step, it in events]
        ids = self._write(entries)
        rows = [
            {
                "asset_key": entry.dagster_event.asset_key.to_string(),
                # As Dagster writes one event: it has no public way to write many.
                **self._storage._get_asset_entry_values(entry, number, True),  # noqa: SLF001
            }
            for entry, number in zip(entries, ids, strict=True)
        ]
        insert = postgresql.insert(AssetKeyTable)
        values = {name: insert.excluded[name] for name in rows[0] if name != "asset_key"}
        self._connection.execute(
            insert.on_conflict_do_update(index_elements=["asset_key"], set_=values), rows
        )
        return ids

    def _write(self, entries: list[Any]) -> list[int]:
        from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

        # As above: no public way.
        rows = [self._storage._event_to_row(entry) for entry in entries]  # noqa: SLF001
        table = SqlEventLogStorageTable
        insert = table.insert().returning(table.c.id, sort_by_parameter_order=True)
        return list(self._connection.scalars(insert, rows))

    def _entry(self, kind: Any, step: str | None, data: Any) -> Any:
        from dagster import DagsterEvent, EventLogEntry

        return EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster gives no types
            error_info=None,
            level=20,
            user_message="",
            run_id=self._run.run_id,
            timestamp=time.time(),
            step_key=step,
            job_name=self._run.job_name,
            dagster_event=DagsterEvent(
                kind.value, self._run.job_name, step_key=step, event_specific_data=data
            ),
        )


if __name__ == "__main__":
    main()
