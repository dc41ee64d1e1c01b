"""Hosts that are not as they should be for a while: far away, with a wrong clock or a full disk."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_teams import Status, until
from judge import late_seconds
from network import small_disk
from site_on_hosts import Site

HERE = Path(__file__).parent
Measured = Callable[[str], None]
MINUTES = 1.5
"""The policies in team.py."""


class TestDelay:
    def test_of_a_team_that_is_far_away_costs_time_alone(
        self, site: Site, measured: Measured
    ) -> None:
        broker, postgres = site.broker.program, site.postgres.program
        addresses = [f"{server.host}:{server.port}" for server in (postgres, broker)]
        proxy = subprocess.Popen(
            [
                *(*site.hosts["two-a"].within, sys.executable, HERE / "slow_proxy.py"),
                *("25", "7000", *addresses),
            ],
            stdout=subprocess.PIPE,
        )
        assert proxy.stdout is not None
        assert b"ready\n" == proxy.stdout.readline()
        site.restart_host(
            "two-a",
            DAGSTER_PG_HOST="127.0.0.1",
            DAGSTER_PG_PORT="7000",
            FRESHLINE_BROKER_URL=f"redis://:{broker.password}@127.0.0.1:7001/0",
        )
        began = time.monotonic()

        assert site.wait(site.submit("quick", "two")) is Status.SUCCESS

        measured(f"a run with 50 ms to the database and back: {time.monotonic() - began:.0f} s")
        site.restart_host("two-a")
        proxy.kill()
        proxy.communicate()


@pytest.fixture(scope="module")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that shifts the clock of a program, if it is preloaded."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc), so that no program can be given another clock")
    library = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "shifted_clock.c", "-ldl"],
        check=True,
    )
    return library


class TestClocks:
    def test_two_minutes_apart_end_no_run_and_let_no_policy_ask_in_vain(
        self, site: Site, shifted_clock: Path
    ) -> None:
        """One team's clock is a minute ahead of Dagster's, the other's a minute behind it."""
        shifts = {"one-a": 60, "one-b": 60, "two-a": -60}
        for host, seconds in shifts.items():
            site.restart_host(host, LD_PRELOAD=str(shifted_clock), CLOCK_SHIFT=str(seconds))
        began = time.time()

        patient, _ = site.begin("patient", "two")
        for team, seconds in (("one", 60), ("two", -60)):
            run_id = site.submit("quick", team)
            assert site.wait(run_id) is Status.SUCCESS
            assert seconds == pytest.approx(site.made(run_id, "clock") - time.time(), abs=20)
        until(lambda: time.time() > began + 2 * MINUTES * 60, 400)
        assert site.status(patient) is Status.STARTED
        site.open_gate(patient)
        assert site.wait(patient) is Status.SUCCESS

        # A policy of 90 s, whose runs take some seconds, asks about once a minute. What a team has
        # made, it has written down by its own clock.
        for key, seconds in (("one/report", 60), ("two/report", -60)):
            assert 2 <= len(site.made_since(key, began + seconds)) <= 6
        for host in shifts:
            site.restart_host(host)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Have no room left on the disk of a folder as long as the context is open."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            for _ in itertools.count():
                file.write(bytes(65_536))
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


class TestFullDisk:
    def test_of_a_worker_lets_its_runs_end(self, site: Site, measured: Measured) -> None:
        storage = site.home("two-a") / "storage"
        with small_disk(storage, 8):
            with filled(storage):
                run_id = site.submit("talker", "two")
                measured(f"a run that prints ended as {site.wait(run_id).value}")
            assert site.wait(site.submit("talker", "two")) is Status.SUCCESS

    def test_of_postgres_ends_no_run(self, site: Site, measured: Measured) -> None:
        run_id, _ = site.begin("patient", "two")
        with filled(site.database):
            site.open_gate(run_id)
            time.sleep(15)  # less than a run waits for its database
        if not site.postgres.program.is_running():
            measured("Postgres had ended, and was started again")
            site.postgres.start()

        assert site.wait(run_id) is Status.SUCCESS
        assert site.wait(site.submit("quick", "two")) is Status.SUCCESS


class TestRollingDeploys:
    def test_of_one_team_end_no_run_and_break_no_policy_of_another(
        self, site: Site, measured: Measured
    ) -> None:
        site.await_made("two/report", "two/mart")
        began, runs = time.time(), []

        for release in ("second", "third"):
            runs.append(site.begin("task", "one")[0])
            site.write("one", release)
            site.servers["one"].kill()
            site.start_code_server("one")
            for host in ("one-a", "one-b"):
                old = site.workers[host]
                names = site.serving(host)
                old.tell_to_end()
                site.start_workers(host)
                until(lambda host=host, names=names: set(site.serving(host)) - set(names))
                assert 0 == old.wait()
            site.await_location("one")
            runs.append(site.submit("quick", "one"))
            assert site.wait(runs[-1]) is Status.SUCCESS
            assert release == site.made(runs[-1], "release")

        assert {Status.SUCCESS} == {site.wait(run) for run in runs}
        measured(f"two deploys in {time.time() - began:.0f} s")
        assert 0 == late_seconds(site, "two/report", MINUTES, began)
        assert 0 == late_seconds(site, "two/mart", MINUTES, began)
