"""From a star to the mart that has it: what does our engine add to the bare tools?

``.venv/bin/python bench/chain.py`` prints the tables of ``docs/engine.md``; with ``--write`` it
puts them there. One stack (Postgres, the GitHub stand-in, the embedded Airbyte with the real
connector, broker, workers), with data of its own in ``.local/chain``, serves three ways by turns,
in an order that changes from round to round:

bare tools
    Airbyte's API is asked for a sync. Then the program dbt builds project 1, then project 2.
our chain
    ``dagster dev`` with ``dagster.yaml`` of this checkout: freshline's sensors find the mart too
    old, and runs are made by warm workers.
Dagster's defaults
    The same locations and sensors; Dagster's own launcher, executor and queue, and the program dbt.

In each round one star is given. It is in the mart when the warehouse says so, asked ten times a
second. Between rounds the location `ingestion` is paused, so that nothing is due before the star.
The time starts when the pause ends. ``dagster dev`` runs only while it is measured.

CPU is that of all processes of the stack and of Dagster, also of those that have ended, but without
the process that measures. Fails if our chain takes longer than the bare tools, or if a
materialization by dbt costs more CPU than it may.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, Self

import dagster as dg
import httpx
import psycopg
import yaml
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from freshline.contract.pauses import pause_event, resumption
from freshline.engine.broker import Broker, serving
from freshline.model import Pause

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = ROOT / "bench" / "chain_workspace"
sys.path[:0] = [str(ROOT / "tools"), str(WORKSPACE)]
from chain_locations import LAG_MINUTES  # noqa: E402 - found from here on
from chain_parts import (  # noqa: E402 - it needs nothing, but comes after the line above
    CUMULATIVE,
    JOIN,
    ROOT_ASSET,
    STARGAZER,
    Build,
    Round,
    Steps,
    kept,
    parts_of_runs,
    read_run,
    section,
)
from own_stack import (  # noqa: E402 - in tools/
    connect_to_warehouse,
    dagster_dev,
    link_checkout,
    log_of,
    run_inside,
)
from processes import Family, Meter, kinds_of_services  # noqa: E402 - as above
from projects import read_locations  # noqa: E402 - in tools/
from soak import ASSETS, materializations  # noqa: E402 - it needs tools/ too

STATE = ROOT / ".local" / "chain"
DEFAULTS = STATE / "defaults"
STARS = STATE / "stars" / "stars.csv"
"""In a folder of its own: a new name in the folder in which workers start makes them load anew."""
BARE = STATE / "bare"
PAGE = ROOT / "docs" / "engine.md"
BEGIN, END = "<!-- chain: begin -->", "<!-- chain: end -->"

REPOSITORY = "acme/rocket"
STARS_BEFORE = 3000
MODELS = {"analytics_core": (STARGAZER,), "analytics_marts": (CUMULATIVE, JOIN)}
"""The locations with dbt projects, in their order, and the models that each makes."""
IN_THE_TABLE: Mapping[str, str] = {
    STARGAZER: "select exists (select from mart.mart_gh_stargazer where user_id = %(stars)s)",
    CUMULATIVE: "select sum(stars) = %(stars)s from mart.mart_gh_cumulative",
    JOIN: "select sum(stars) = %(stars)s from mart.mart_gh_join",
}
"""Whether the newest star is in the table of a model. It was given by the user of its number."""
LOOK_EVERY = 0.1  # seconds between two looks at the tables
ASK_EVERY = 0.2  # seconds between two questions whether Airbyte has ended
IDLE = 15.0  # seconds in which it is measured what is used when there is nothing to do
TAIL = 1.0  # seconds after the end in which processes may still end
TIMEOUT = 420.0  # seconds for a chain, and for `dagster dev` to be ready


class Way(Protocol):
    """A way from the star to the mart."""

    def warm_up(self) -> None:
        """Go the way once, so that whatever is kept from one time to the next is there."""

    def go(self) -> Round:
        """Give a star, and wait until it is in the mart and all is tested."""


# --- running ------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="into docs/engine.md")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return compare(arguments.rounds, write=arguments.write)
    os.environ.pop("DEVSTACK_QUIET", None)
    os.environ["DEVSTACK_STARS"] = str(STARS)
    os.environ["PYTHONPATH"] = str(WORKSPACE)
    return run_inside(STATE, [sys.executable, __file__, "--inside", *sys.argv[1:]], prepare=lay_out)


def compare(rounds: int, *, write: bool) -> int:
    stars = Stars(STARS)
    load = os.getloadavg()[0]
    ways: dict[str, Way] = {
        "bare tools": BareTools(stars),
        "our chain": Workspace(STATE, stars, warm=True),
        "Dagster's defaults": Workspace(DEFAULTS, stars, warm=False),
    }
    for name, way in reversed(ways.items()):  # the bare tools find what a workspace has made
        way.warm_up()
        print(f"chain: {name}: ready", flush=True)
    measured: dict[str, list[Round]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            one = ways[name].go()
            measured[name].append(one)
            print(
                f"chain: round {number + 1}, {name}: {one.seconds:.1f} s, "
                f"{one.cpu_in_all:.1f} s of CPU",
                flush=True,
            )
    text = section(measured, load)
    print(text)
    if write:
        old = PAGE.read_text()
        PAGE.write_text(f"{old.partition(BEGIN)[0]}{BEGIN}\n{text}\n{END}{old.partition(END)[2]}")
    return 0 if kept(measured) else 1


def lay_out(state: Path) -> None:
    """Write what the two workspaces and the bare tools need into the folder of the stack."""
    for folder in (STARS.parent, BARE, DEFAULTS):
        folder.mkdir()
    write_stars(STARS, STARS_BEFORE)
    link_checkout(DEFAULTS)
    for home, ending in ((state, ""), (DEFAULTS, "_by_defaults")):
        workspace = yaml.safe_load((home / "workspace.yaml").read_text())
        for entry in workspace["load_from"]:
            module = entry["python_module"]
            module["module_name"] = "chain_locations"
            module["attribute"] = f"{module['location_name']}{ending}"
        (home / "workspace.yaml").write_text(yaml.safe_dump(workspace))
    settings = yaml.safe_load((DEFAULTS / "dagster.yaml").read_text())
    storage = settings["storage"]
    # The same database, so the same server; but what is in it is apart.
    storage["postgres"]["postgres_db"]["params"] = {"options": "-csearch_path=defaults"}
    (DEFAULTS / "dagster.yaml").write_text(
        yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}})
    )


def new_meter() -> Meter:
    """Return a meter for the stack that this process runs in, and for what it starts."""
    return Meter(Family(os.getppid(), kinds_of_services(STATE), meter=os.getpid()))


# --- stars --------------------------------------------------------------------------------


def cpu_of_idling(meter: Meter) -> float:
    """Wait, and return the seconds of CPU that all processes use in a second meanwhile."""
    begin = time.time()
    time.sleep(IDLE)
    return sum(meter.cpu(begin, time.time()).values()) / IDLE


def write_stars(file: Path, number: int) -> None:
    """Write a repository's stars of the last year. The users have the numbers from 1 on."""
    chance = random.Random(20_260_630)
    start = datetime.now(UTC) - timedelta(days=365)
    seconds = sorted(chance.randrange(364 * 86_400) for _ in range(number))
    rows = [row_of(person, start + timedelta(seconds=at)) for person, at in enumerate(seconds, 1)]
    file.write_text("".join(["repository,user_id,login,starred_at\n", *rows]))


def row_of(person: int, at: datetime) -> str:
    return f"{REPOSITORY},{person},user{person},{at:%Y-%m-%dT%H:%M:%SZ}\n"


class Stars:
    """The stars that the GitHub stand-in serves."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.number = len(file.read_text().splitlines()) - 1

    def give(self) -> None:
        """Give one more star, now."""
        self.number += 1
        text = self._file.read_text() + row_of(self.number, datetime.now(UTC))
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.replace(self._file)


class Watch:
    """Looks whether the newest star is in the tables of the models, as long as it is open."""

    def __init__(self, stars: int) -> None:
        self._stars = stars
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, daemon=True)
        self.visible: dict[str, float] = {}
        """When (epoch seconds) the star was seen in the table of a model, by the model."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def sees_all(self) -> bool:
        return self.visible.keys() == IN_THE_TABLE.keys()

    def _keep_looking(self) -> None:
        with connect_to_warehouse() as warehouse:
            while not self._over.wait(LOOK_EVERY) and not self.sees_all():
                for key, query in IN_THE_TABLE.items():
                    if key not in self.visible and self._sees(warehouse, query):
                        self.visible[key] = time.time()

    def _sees(self, warehouse: psycopg.Connection[Any], query: str) -> bool:
        try:
            row = warehouse.execute(query, {"stars": self._stars}).fetchone()
        except psycopg.errors.UndefinedTable:  # dbt is just putting a new one in its place
            return False
        return bool(row and row[0])


# --- the bare tools -----------------------------------------------------------------------


class BareTools:
    """Airbyte by its API, dbt by its program: what a person at a shell would do."""

    def __init__(self, stars: Stars) -> None:
        self._stars = stars
        self._api = httpx.Client(
            base_url=f"{os.environ['AIRBYTE_URL']}/api/public/v1/",
            auth=(os.environ["AIRBYTE_CLIENT_ID"], os.environ["AIRBYTE_CLIENT_SECRET"]),
            timeout=60,
        )

    def warm_up(self) -> None:
        for location in MODELS:
            self._build(location)

    def go(self) -> Round:
        with new_meter() as meter:
            idle = cpu_of_idling(meter)
            self._stars.give()
            begin = time.time()
            with Watch(self._stars.number) as watch:
                synced = self._sync()
                builds = {location: self._build(location) for location in MODELS}
                wait_until(watch.sees_all, "the star in the marts")
            end = max(ended for _, ended in builds.values())
            time.sleep(TAIL)
        steps = Steps(begin)
        steps.until_loaded(meter.life("source-github"), meter.life("devstack.airbyte.worker"))
        steps.until_noted(synced)
        for location, models in MODELS.items():
            seconds, ended = builds[location]
            seen = watch.visible
            steps.until_dbt_has_built(seen[models[0]] - seconds[models[0]], seen[models[-1]])
            if location != list(MODELS)[-1]:
                steps.until_tested(ended)
        return Round(
            parts=steps.parts,
            checked=end - begin,
            cpu=meter.cpu(begin, end + TAIL),
            idle=idle,
        )

    def _sync(self) -> float:
        """Sync the connection, and return when Airbyte said that it has ended."""
        (connection,) = self._ask("GET", "connections")["data"]
        order = {"connectionId": connection["connectionId"], "jobType": "sync"}
        job = self._ask("POST", "jobs", json=order)
        while job["status"] == "running":
            time.sleep(ASK_EVERY)
            job = self._ask("GET", f"jobs/{job['jobId']}")
        if job["status"] != "succeeded":
            sys.exit(f"chain: the sync {job['status']}")
        return time.time()

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._api.request(method, path, **options).raise_for_status().json()

    def _build(self, location: str) -> tuple[dict[str, float], float]:
        """Build a project. Return how long each model took, and when (epoch seconds) dbt ended."""
        (project,) = (ROOT / location).glob("dbt_project_*")
        target = BARE / location
        dbt = ROOT / location / ".venv" / "bin" / "dbt"
        done = subprocess.run(
            [dbt, "build", "--target-path", target, "--log-path", target],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        ended = time.time()
        if done.returncode != 0:
            sys.exit(f"chain: dbt failed in {project}\n{done.stdout}\n{done.stderr}")
        results = json.loads((target / "run_results.json").read_text())["results"]
        seconds = {
            f"mart/{result['unique_id'].rpartition('.')[2]}": float(result["execution_time"])
            for result in results
            if result["unique_id"].startswith("model.")
        }
        return seconds, ended


# --- a workspace --------------------------------------------------------------------------


class Workspace:
    """The three locations under `dagster dev`, with an instance of their own in `home`.

    `warm`: its runs are made by the workers of the stack.
    """

    def __init__(self, home: Path, stars: Stars, *, warm: bool) -> None:
        self._home = home
        self._stars = stars
        self._warm = warm
        self._dagster: subprocess.Popen[bytes]
        self._instance: dg.DagsterInstance

    def warm_up(self) -> None:
        if not self._warm:
            make_schema("defaults")
        with self._running():
            self._wait_until(self._has_made_all, "all assets")
            self._pause()
            self._wait_until(self._is_done, "the end of the first runs")

    def go(self) -> Round:
        started = time.time()
        with self._running():
            self._wait_until(lambda: self._has_ticked_since(started), "three ticks of each sensor")
            if self._warm:
                self._wait_until(self._has_workers, "a worker of each location")
            self._wait_until(self._is_due, "data that is too old", LAG_MINUTES * 60 + TIMEOUT)
            with new_meter() as meter:
                self._stars.give()
                begin = time.time()
                with Watch(self._stars.number) as watch:
                    self._instance.report_runless_asset_event(resumption("ingestion"))
                    self._wait_until(lambda: self._has_requested(JOIN, begin), f"a run of {JOIN}")
                    self._pause()
                    self._wait_until(watch.sees_all, "the star in the marts")
                    self._wait_until(self._is_done, "the end of all runs")
                time.sleep(TAIL)
                # Afterwards: with the first run that it launches, the daemon becomes cheaper.
                idle = cpu_of_idling(meter)
            return self._round(begin, idle, watch, meter)

    def _round(self, begin: float, idle: float, watch: Watch, meter: Meter) -> Round:
        records = self._records(begin)
        runs = [read_run(self._instance, record) for record in records]
        if sum(ROOT_ASSET in run.made for run in runs) != 1:
            sys.exit("chain: there was more than one sync in a round; raise LAG_MINUTES")
        connector, load = meter.life("source-github"), meter.life("devstack.airbyte.worker")
        parts, last = parts_of_runs(begin, runs, watch.visible, connector, load)
        end = max(run.ended for run in runs)
        seconds = last.ended + TAIL - last.requested
        cpu = sum(meter.cpu(last.requested, last.ended + TAIL).values())
        return Round(
            parts=parts,
            checked=end - begin,
            cpu=meter.cpu(begin, end + TAIL),
            idle=idle,
            build=Build(seconds, cpu, idle * seconds),
        )

    @contextmanager
    def _running(self) -> Iterator[None]:
        with (
            dagster_dev(self._home, limits=self._warm) as self._dagster,
            dg.DagsterInstance.from_config(str(self._home)) as self._instance,
        ):
            yield

    def _pause(self) -> None:
        """Let `ingestion` request nothing until somebody resumes it."""
        end = time.time() + 86_400
        self._instance.report_runless_asset_event(pause_event("ingestion", Pause(end, "a bench")))

    def _has_made_all(self) -> bool:
        return all(materializations(self._instance, key) for key in ASSETS)

    def _has_ticked_since(self, at: float) -> bool:
        """Return whether the sensor of each location has ended three ticks since then."""
        sensors = [
            state
            for state in self._instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            if state.name == "update_sensor"
        ]
        ticks = [
            self._instance.get_ticks(
                state.instigator_origin_id,
                state.selector_id,
                after=at,
                limit=3,
                statuses=[TickStatus.SKIPPED, TickStatus.SUCCESS],
            )
            for state in sensors
        ]
        return sum(len(some) == 3 for some in ticks) == len(read_locations(ROOT))

    def _has_workers(self) -> bool:
        workers = Broker(os.environ["FRESHLINE_BROKER_URL"]).workers()
        return all(serving(workers, location) for location in read_locations(ROOT))

    def _is_due(self) -> bool:
        newest = materializations(self._instance, ROOT_ASSET)[-1].data_time
        return newest + LAG_MINUTES * 60 < time.time()

    def _has_requested(self, key: str, since: float) -> bool:
        asset = dg.AssetKey(key.split("/"))
        runs = [record.dagster_run for record in self._records(since)]
        return any(asset in (run.asset_selection or ()) for run in runs)

    def _is_done(self) -> bool:
        return all(record.dagster_run.is_finished for record in self._records(0.0))

    def _records(self, since: float) -> Sequence[dg.RunRecord]:
        """Return the runs that were requested since then. Exits if one has failed."""
        after = datetime.fromtimestamp(since, UTC)
        records = self._instance.get_run_records(dg.RunsFilter(created_after=after))
        for record in records:
            run = record.dagster_run
            if run.is_failure_or_canceled:
                sys.exit(f"chain: run {run.run_id} has failed; see {log_of(self._home)}")
        return records

    def _wait_until(
        self, condition: Callable[[], bool], what: str, seconds: float = TIMEOUT
    ) -> None:
        def is_so() -> bool:
            if self._dagster.poll() is not None:
                sys.exit(f"chain: dagster dev ended; see {log_of(self._home)}")
            return condition()

        try:
            wait_until(is_so, what, seconds)
        except TimeoutError as error:
            sys.exit(f"chain: {error}; see {log_of(self._home)}")


def make_schema(name: str) -> None:
    """Make a schema in Dagster's database."""
    with psycopg.connect(
        host=os.environ["DAGSTER_PG_HOST"],
        port=os.environ["DAGSTER_PG_PORT"],
        user=os.environ["DAGSTER_PG_USER"],
        password=os.environ["DAGSTER_PG_PASSWORD"],
        dbname=os.environ["DAGSTER_PG_DATABASE"],
    ) as database:
        database.execute(psycopg.sql.SQL("create schema {}").format(psycopg.sql.Identifier(name)))


def wait_until(condition: Callable[[], bool], what: str, seconds: float = TIMEOUT) -> None:
    """Wait until `condition()` is true. Raises `TimeoutError` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main())
