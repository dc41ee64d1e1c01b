# ruff: noqa: A001 - an id is an id
"""Syncs killed with SIGKILL at random times: no row is lost, and no row is there twice.

The source grows before every sync. After each kill the rows are compared with the state, which must
not be ahead of them; after a last sync without a kill the tables must be equal to the source. The
times come from a seed, which is in the failure message.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from devstack.postgres.server import PostgresServer
from devstack.processes import wait_for_end
from fake_connector import event
from helpers import until
from helpers_airbyte import Airbyte, landed_stars, register_fake, source_of, write_stars

STREAMS = [
    {"name": "events", "syncMode": "incremental_deduped_history"},
    {"name": "log", "syncMode": "incremental_append"},
]
# New rows before each sync, rows in a page, seconds of pause after each page. Reading takes some
# 0.6 s. At a kill in that time some rows are staged, some committed and some not yet read.
GROWTH, PAGE, PAUSE = 60, 10, 0.05


class Stack:
    """Postgres and an Airbyte over it, both of which may be killed."""

    def __init__(self, folder: Path, launcher: Any, registry: Path) -> None:
        self._folder = folder
        self._launcher = launcher
        self._registry = registry
        self._postgres = PostgresServer(folder / "postgres")
        self._postgres.__enter__()
        self.address = self._postgres.address
        self.start_airbyte()

    @property
    def dsn(self) -> str:
        at = self.address
        return f"postgresql://{at.user}:{at.password}@{at.host}:{at.port}/{at.database}"

    def start_airbyte(self) -> None:
        self.program = self._launcher.serve(
            "airbyte",
            data=self._folder / "airbyte",
            database_url=self.dsn,
            connectors=self._registry,
        )
        self.airbyte = Airbyte(self.program)

    def kill_airbyte(self) -> None:
        """Kill the server alone; what it has started must end by itself."""
        started = psutil.Process(self.program.pid).children(recursive=True)
        self.airbyte.close()
        self.program.kill()
        assert wait_for_end(started, seconds=10) == []
        self.start_airbyte()

    def kill_postgres(self) -> None:
        pid = int((self._folder / "postgres/cluster/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        self._postgres.wait()
        self._postgres.stop()
        self._postgres = PostgresServer(self._folder / "postgres", port=self.address.port)
        self._postgres.__enter__()

    def kill_worker(self) -> None:
        self._kill_descendant("devstack.airbyte.worker")

    def kill_connector(self) -> None:
        self._kill_descendant("--catalog")

    def _kill_descendant(self, argument: str) -> None:
        for process in psutil.Process(self.program.pid).children(recursive=True):
            # It may end while it is looked at.
            with suppress(psutil.Error):
                if argument in process.cmdline():
                    process.kill()

    def stop(self) -> None:
        self.airbyte.close()
        self.program.stop()
        self._postgres.stop()


@pytest.fixture
def stack(devstack_launcher: Any, tmp_path: Path) -> Iterator[Stack]:
    folder = devstack_launcher.new_folder("kills")
    running = Stack(folder, devstack_launcher, register_fake(tmp_path))
    yield running
    running.stop()


def start(stack: Stack, connection: str) -> int:
    """Start a sync as soon as the server can: it may not have reached its database again yet."""

    def attempt() -> int:
        with suppress(httpx.HTTPError):
            body = {"connectionId": connection, "jobType": "sync"}
            answer = stack.airbyte.post("jobs", json=body)
            if answer.is_success:
                return int(answer.json()["jobId"])
            assert answer.status_code in (409, 503), answer.text
        return 0

    return until(attempt)


def ended(stack: Stack, job: int) -> str:
    """Return the job's last status; wait while the database cannot be reached."""

    def look() -> str:
        answer = stack.airbyte.get(f"jobs/{job}")
        if answer.status_code == 503:
            return ""
        status = answer.raise_for_status().json()["status"]
        return "" if status == "running" else str(status)

    return until(look)


def check_state(db: psycopg.Connection[Any], when: str) -> None:
    """Assert that every row that the state stands for is there, and no row twice."""
    if not db.execute("select to_regclass('airbyte_internal.state')").fetchone()[0]:
        return
    states = {
        name: json.loads(text)["stream"]["stream_state"]
        for name, text in db.execute("select stream, state from airbyte_internal.state")
    }
    if "events" in states:
        reached = states["events"]["updated_at"]
        rows = db.execute("select count(*), count(distinct id), max(id) from events").fetchone()
        below = db.execute("select count(*) from events where updated_at < %s", (reached,))
        first = next(n for n in range(100_000) if event(n)["updated_at"] == reached)
        assert rows == (rows[0], rows[0], rows[0] - 1), when
        assert (first,) == below.fetchone(), when
    if "log" in states:
        rows = db.execute("select count(*), count(distinct line) from log").fetchone()
        assert (states["log"]["next"], states["log"]["next"]) == rows, when


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_random_times_lose_and_duplicate_no_row(stack: Stack, seed: int) -> None:
    """28 kills: of the connector, the worker, the server and Postgres."""
    rng = random.Random(seed)
    source = stack.airbyte.new_source(rows=0, page=PAGE, pause=PAUSE)
    destination = stack.airbyte.new_destination(stack.dsn)
    connection = stack.airbyte.new_connection(source, destination, *STREAMS)
    victims = ["connector"] * 8 + ["worker"] * 6 + ["airbyte"] * 7 + ["postgres"] * 7
    rng.shuffle(victims)
    rows = 0
    outcomes = []
    for number, victim in enumerate(victims):
        rows += GROWTH
        change = {"configuration": {"rows": rows}}
        until(lambda c=change: stack.airbyte.patch(f"sources/{source}", json=c).is_success)
        job = start(stack, connection)
        delay = rng.uniform(0, 1.5)
        time.sleep(delay)
        getattr(stack, f"kill_{victim}")()
        outcomes.append(ended(stack, job))
        with psycopg.connect(stack.dsn) as db:
            check_state(db, f"seed {seed}, kill {number}: {victim} after {delay:.2f} s")
    last = ended(stack, start(stack, connection))

    assert "succeeded" == last
    # Some kills come after the end of a sync. If most did, little would be tested.
    assert outcomes.count("failed") > len(outcomes) / 2
    with psycopg.connect(stack.dsn) as db:
        events = db.execute("select id, updated_at, name, payload from events order by id")
        lines = db.execute("select line from log").fetchall()
        landed = [
            (id, updated_at.isoformat().replace("+00:00", "Z"), name, payload)
            for id, updated_at, name, payload in events
        ]
    assert [tuple(event(number).values()) for number in range(rows)] == landed
    assert sorted(f"line {number}" for number in range(rows)) == sorted(one for (one,) in lines)


def test_kills_of_a_real_sync_lose_and_duplicate_no_star(
    stack: Stack, github_server: Any, tmp_path: Path
) -> None:
    """One kill of each victim, within 5 s. The connector takes some 4 s to start."""
    rng = random.Random(3)
    stars = write_stars(tmp_path / "stars.csv", 1500)
    github = github_server(stars=tmp_path / "stars.csv")
    source = stack.airbyte.new_source(**source_of(github))
    connection = stack.airbyte.new_connection(
        source,
        stack.airbyte.new_destination(stack.dsn),
        {"name": "stargazers", "syncMode": "incremental_deduped_history"},
        namespaceDefinition="custom_format",
        namespaceFormat="postgres",
    )
    for victim in ("connector", "worker", "airbyte", "postgres"):
        job = start(stack, connection)
        time.sleep(rng.uniform(0, 5))
        getattr(stack, f"kill_{victim}")()
        ended(stack, job)
    last = ended(stack, start(stack, connection))

    assert "succeeded" == last
    with psycopg.connect(stack.dsn) as db:
        assert stars == landed_stars(db)
