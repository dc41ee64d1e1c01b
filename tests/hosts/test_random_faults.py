"""Many faults in an order that nobody has chosen: processes are killed, hosts cannot be reached.

They hit one team's hosts and what all teams share. Afterwards no run is lost, none hangs and none
was made twice, and the other team's own policy was kept throughout. By hand:

    pytest tests/hosts/test_random_faults.py --kills 50 --partitions 10 --seed 7
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import psutil
import pytest
from engine_teams import until
from judge import late_seconds, unfinished
from site_on_hosts import Site

MINUTES = 1.5
HOSTS = ("one-a", "one-b")
LONGEST_PAUSE = 8.0
"""Seconds that something which was killed is away; a policy of 90 s survives that."""


class Faults:
    """Faults, by a seeded generator; each method makes one, and ends when it is over."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._random = random.Random(seed)

    def kill(self) -> str:
        kinds: list[Callable[[], str]] = [
            self._kill_child,
            self._kill_worker,
            self._kill_supervisor,
            self._kill_code_server,
            self._kill_daemon,
            self._kill_broker,
            self._kill_postgres,
        ]
        return self._random.choice(kinds)()

    def partition(self) -> str:
        host = self._random.choice(HOSTS)
        other = self._random.choice(["broker", "database", "dagster", "all"])
        seconds = self._random.uniform(5, 35)
        hosts = self._site.hosts
        if other == "all":
            cut = hosts[host].unplugged()
        elif self._random.random() < 0.5:
            cut = hosts[other].silent_to(hosts[host])
        else:
            cut = hosts[other].refusing(hosts[host])
        with cut:
            time.sleep(seconds)
        return f"{host} cut off from {other} for {seconds:.0f} s"

    def _pause(self) -> None:
        time.sleep(self._random.uniform(0, LONGEST_PAUSE))

    def _kill_child(self) -> str:
        unit = self._site.workers[self._random.choice(HOSTS)]
        workers = psutil.Process(unit.pid).children()
        children = [child for worker in workers for child in worker.children()]
        if not children:
            return "no child to kill"
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            self._random.choice(children).kill()
        return "a child"

    def _kill_worker(self) -> str:
        unit = self._site.workers[self._random.choice(HOSTS)]
        workers = psutil.Process(unit.pid).children()
        if not workers:
            return "no worker to kill"
        with suppress(psutil.NoSuchProcess):
            self._random.choice(workers).kill()
        return "a worker"

    def _kill_supervisor(self) -> str:
        host = self._random.choice(HOSTS)
        self._site.workers[host].kill_alone()
        self._pause()
        self._site.start_workers(host)
        return f"the supervisor of {host}"

    def _kill_code_server(self) -> str:
        self._site.servers["one"].kill()
        self._pause()
        self._site.start_code_server("one")
        return "the code server"

    def _kill_daemon(self) -> str:
        self._site.daemon.kill()
        self._pause()
        self._site.daemon.start()
        return "the daemon"

    def _kill_broker(self) -> str:
        self._site.broker.kill()
        self._pause()
        self._site.broker.start()
        return "the broker"

    def _kill_postgres(self) -> str:
        self._site.postgres.kill()
        self._pause()
        self._site.postgres.start()
        return "Postgres"


def test_random_faults_lose_no_run_make_none_twice_and_break_no_policy_of_another_team(
    site: Site, request: pytest.FixtureRequest, measured: Callable[[str], None]
) -> None:
    kills, partitions = (request.config.getoption(name) for name in ("kills", "partitions"))
    seed = request.config.getoption("seed")
    faults, order = Faults(site, seed), ["kill"] * kills + ["partition"] * partitions
    random.Random(seed).shuffle(order)
    site.await_made("two/report")
    began, asked = time.time(), 0

    for kind in order:
        for team in ("one", "two"):
            # While the database or a code server is away, nobody can ask.
            with suppress(httpx.HTTPError, AssertionError):
                site.submit("task", team)
                asked += 1
        measured(faults.kill() if kind == "kill" else faults.partition())
        until(lambda: can_ask(site), why=site.webserver.log[-3000:])

    seconds = time.time() - began
    begun = set(unfinished(site))
    until(lambda: not begun & set(unfinished(site)), 300, why="some runs hang")
    measured(f"{len(order)} faults and {asked} runs in {seconds:.0f} s, seed {seed}")
    assert 0 == late_seconds(site, "two/report", MINUTES, began)


def can_ask(site: Site) -> bool:
    """Return whether the webserver knows both locations, so that runs can be asked for."""
    with suppress(httpx.HTTPError, AssertionError):
        return site.graphql.locations() == {"one": "LOADED", "two": "LOADED"}
    return False
