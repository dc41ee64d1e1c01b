"""Sensors that tick as soon as what their locations wait for is there, and others at their pace."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from conftest import write_instance
from devstack_fixtures import Launcher, PostgresServer, Program
from engine_teams import Server, Teams, running_teams, until
from freshline.engine.broker import Broker
from freshline.engine.waking import News
from freshline.sensor.cursor import Cursor

INTERVAL = 5.0
"""Seconds after which Dagster's daemon looks at its sensors."""
DEQUEUED_EVERY = 40
"""Seconds after which the daemon looks into its queue by itself. A chain of three runs that had to
wait for that could not keep its policy."""

CHAIN = """
import time
from pathlib import Path
import dagster as dg
from freshline import max_lag, with_freshline

LOCATION = Path(__file__).stem

@dg.asset
def source(): time.sleep(1)

@dg.asset(deps=["source"])
def middle(): time.sleep(1)

@dg.asset(deps=["middle"], metadata=max_lag(minutes=1))
def mart(): ...

@dg.sensor(job_name="__ASSET_JOB", minimum_interval_seconds=1,
           default_status=dg.DefaultSensorStatus.RUNNING)
def other():
    yield dg.SkipReason("TEXT")

assets = [source, mart] if LOCATION == "one" else [middle]
defs = with_freshline(
    dg.Definitions(assets, sensors=[other], executor=dg.in_process_executor), location=LOCATION
)
"""


@pytest.fixture(scope="module")
def teams(
    broker_server: Callable[..., Program],
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Teams]:
    folder: Path = tmp_path_factory.mktemp("teams")
    with postgres_server.new_database() as database:
        write_instance(folder, database)
        storage = yaml.safe_load((folder / "dagster.yaml").read_text())
        url = broker_server().url
        with running_teams(folder, url, storage, CHAIN, dequeue_interval=DEQUEUED_EVERY) as teams:
            mart = dg.AssetKey("mart")
            until(lambda: len(made(teams, mart)) >= 3, 300, why=teams.worker_log)
            yield teams


def made(teams: Teams, key: dg.AssetKey) -> list[float]:
    return [one.timestamp for one in teams.instance.fetch_materializations(key, limit=100).records]


def gaps(teams: Teams, location: str, name: str) -> list[float]:
    """Return the seconds between the ticks of a sensor."""
    found = teams.context.create_request_context().get_code_location(location)
    sensor = found.get_repository("__repository__").get_sensor(name)
    ticks = teams.instance.get_ticks(sensor.get_remote_origin_id(), sensor.selector_id)
    times = sorted(tick.timestamp for tick in ticks)
    return [after - before for before, after in itertools.pairwise(times)]


@pytest.mark.parametrize("location", ["one", "two"])
def test_a_location_ticks_as_soon_as_what_it_waits_for_is_made(teams: Teams, location: str) -> None:
    # On a busy machine, a tick itself may take as long as is gained. But not each.
    until(lambda: min(gaps(teams, location, "update_sensor")) < INTERVAL - 0.5, 300)


def test_other_sensors_tick_no_sooner(teams: Teams) -> None:
    seconds = gaps(teams, "one", "other")

    assert len(seconds) > 5
    assert min(seconds) > INTERVAL - 0.1


def test_what_a_sensor_requests_is_launched_at_once(teams: Teams) -> None:
    records = teams.instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
    created = {it.dagster_run.run_id: it.create_timestamp.timestamp() for it in records}
    begun = {it.dagster_run.run_id: it.start_time or 0.0 for it in records}

    assert len(created) >= 3
    assert max(begun[run_id] - created[run_id] for run_id in created) < DEQUEUED_EVERY / 2


# --- one look -----------------------------------------------------------------------------


@pytest.fixture
def broker(broker_server: Callable[..., Program]) -> Broker:
    return Broker(broker_server().url)


def waiting_for(*keys: str) -> str:
    return Cursor(awaits=list(keys)).to_text()


class Looks:
    """Looks at what was made, a second after each other."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        monkeypatch.setattr("freshline.engine.waking.time.time", lambda: self.now)
        self._news = News(broker)
        self.look("nothing", 0.0)  # what was made before the daemon has started wakes nobody

    def look(self, cursor: str | None, last_tick: float) -> bool:
        self.now += 1
        return self._news.wakes(cursor, last_tick)


@pytest.fixture
def looks(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(broker, monkeypatch)


def test_what_a_sensor_waits_for_wakes_it_until_it_ticks(broker: Broker, looks: Looks) -> None:
    last_tick = looks.now
    assert not looks.look(waiting_for("a/b"), last_tick)

    broker.say_made("a/b")

    assert looks.look(waiting_for("c", "a/b"), last_tick)
    assert looks.look(waiting_for("c", "a/b"), last_tick)
    assert not looks.look(waiting_for("c", "a/b"), looks.now)


@pytest.mark.parametrize("cursor", [None, "", "of another sensor", waiting_for("c")])
def test_other_sensors_are_not_woken(broker: Broker, looks: Looks, cursor: str | None) -> None:
    broker.say_made("a/b")

    assert not looks.look(cursor, looks.now)


def test_what_was_made_before_the_daemon_has_started_wakes_nobody(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.say_made("a/b")

    assert not Looks(broker, monkeypatch).look(waiting_for("a/b"), 0.0)


def test_a_broker_that_is_away_wakes_nobody_and_is_not_asked_for_a_while(
    broker_server: Callable[..., Program],
    devstack_launcher: Launcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = devstack_launcher.new_folder("broker")
    server = Server(broker_server, data=data, password=secrets.token_hex(16))
    broker = Broker(server.program.url)
    looks = Looks(broker, monkeypatch)
    last_tick = looks.now
    server.kill()
    assert not looks.look(waiting_for("a/b"), last_tick)
    server.start()
    broker.say_made("a/b")

    assert not looks.look(waiting_for("a/b"), last_tick)
    looks.now += 10
    assert looks.look(waiting_for("a/b"), last_tick)
