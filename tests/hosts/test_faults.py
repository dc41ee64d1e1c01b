"""What a fault on one host does to runs, and to the teams on other hosts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psutil
import pytest
from engine_teams import Status, await_end, until
from site_on_hosts import Site

Measured = Callable[[str], None]


def settle(site: Site, run_id: str) -> None:
    """Wait until a run that was given up is tried again, and let that run end."""
    retry = until(lambda: site.retry_of(run_id), why=site.daemon.log[-3000:]).run_id
    site.open_gate(retry)
    assert site.wait(retry) is Status.SUCCESS


def begin_on_second_host(site: Site) -> str:
    """Begin a run of `patient` on the host of team `one` that has no code server."""
    site.workers["one-a"].stop()
    run_id, _ = site.begin("patient", "one")
    assert "one-b" == site.host_of(run_id)
    site.start_workers("one-a")
    until(lambda: len(site.serving("one-a")) == 1, why=site.worker_log)
    return run_id


class TestRuns:
    def test_terminated_on_another_host_is_canceled_with_all_that_it_started(
        self, site: Site
    ) -> None:
        run_id, _ = site.begin("starter", "two")
        family = site.family(run_id)
        assert any("4321" in one.cmdline() for one in family)

        assert site.instance.run_launcher.terminate(run_id)

        assert site.wait(run_id) is Status.CANCELED
        await_end(family, 30)

    @pytest.mark.parametrize("what", ["the run", "the worker", "its whole host"])
    def test_killed_with_its_processes_fails_and_is_tried_again_once(
        self, site: Site, what: str, measured: Measured
    ) -> None:
        run_id, process = site.begin("patient", "two")
        family = site.family(run_id)
        began = time.monotonic()

        if what == "the run":
            os.kill(process, signal.SIGKILL)
        elif what == "the worker":
            os.kill(psutil.Process(process).ppid(), signal.SIGKILL)
        else:
            site.lose_power("two-a")
            site.start_host("two-a")
        assert site.wait(run_id) is Status.FAILURE
        measured(f"detected within {time.monotonic() - began:.0f} s")

        await_end(family, 30)
        settle(site, run_id)

    def test_goes_on_elsewhere_when_a_host_of_its_team_has_lost_its_power(
        self, site: Site, measured: Measured
    ) -> None:
        """The other host of the team takes the retry, although the first does not come back."""
        run_id = begin_on_second_host(site)
        began = time.monotonic()

        site.lose_power("one-b")

        assert site.wait(run_id) is Status.FAILURE
        measured(f"detected within {time.monotonic() - began:.0f} s")
        retry = until(lambda: site.retry_of(run_id)).run_id
        until(lambda: "Started execution of step" in site.messages(retry), why=site.worker_log)
        measured(f"goes on after {time.monotonic() - began:.0f} s")
        assert "one-a" == site.host_of(retry)
        site.open_gate(retry)
        assert site.wait(retry) is Status.SUCCESS
        site.start_host("one-b")

    def test_that_waits_without_a_worker_says_so_and_other_teams_go_on(self, site: Site) -> None:
        site.workers["two-a"].stop()

        waiting = site.submit("quick", "two")
        until(lambda: "no worker of two since" in site.messages(waiting))
        assert site.wait(site.submit("quick", "one")) is Status.SUCCESS
        assert site.status(waiting) in (Status.QUEUED, Status.STARTING)

        site.start_workers("two-a")
        assert site.wait(waiting) is Status.SUCCESS


class TestSupervisor:
    def test_killed_alone_leaves_no_worker_behind(self, site: Site) -> None:
        """What a worker is not told any more is that its code has changed."""
        run_id, _ = site.begin("patient", "two")
        unit = site.workers["two-a"]
        workers = psutil.Process(unit.pid).children()

        unit.kill_alone()
        site.open_gate(run_id)

        await_end(workers, 30)
        assert site.wait(run_id) is Status.SUCCESS
        site.start_workers("two-a")
        site.await_workers("two-a")


class TestCutOff:
    def test_for_some_seconds_costs_no_run(self, site: Site) -> None:
        run_id, _ = site.begin("patient", "two")

        with site.hosts["two-a"].unplugged():
            time.sleep(8)  # the time itself is what is tried

        assert site.wait(site.submit("quick", "two")) is Status.SUCCESS
        assert site.status(run_id) is Status.STARTED
        site.open_gate(run_id)
        assert site.wait(run_id) is Status.SUCCESS

    def test_for_longer_is_given_up_and_has_ended_before_it_is_made_elsewhere(
        self, site: Site, measured: Measured
    ) -> None:
        run_id = begin_on_second_host(site)
        run, began = psutil.Process(site.process(run_id)), time.monotonic()

        with site.hosts["one-b"].unplugged():
            assert site.wait(run_id) is Status.FAILURE
            measured(f"detected within {time.monotonic() - began:.0f} s")
            retry = until(lambda: site.retry_of(run_id)).run_id
            until(lambda: "Started execution of step" in site.messages(retry))
            assert "one-a" == site.host_of(retry)
            await_end([run], 30)
            known = site.messages(run_id)

        site.open_gate(retry)
        assert site.wait(retry) is Status.SUCCESS
        site.await_workers("one-b")
        assert known == site.messages(run_id)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("two-a", "broker"),
            ("two-a", "database"),
            ("dagster", "broker"),
            ("dagster", "database"),
            ("dagster", "two-a"),
        ],
    )
    @pytest.mark.parametrize("how", ["silent_to", "refusing"])
    def test_from_one_host_alone_is_made_up_for(
        self, site: Site, one: str, other: str, how: str, measured: Measured
    ) -> None:
        running = site.submit("task", "two")
        cut: Callable[..., AbstractContextManager[None]] = getattr(site.hosts[other], how)

        with cut(site.hosts[one]):
            time.sleep(20)  # longer than a run is given to be silent
        began = time.monotonic()

        waiting = site.submit("quick", "two")
        assert site.wait(waiting) is Status.SUCCESS
        measured(f"back after {time.monotonic() - began:.0f} s")
        if site.wait(running) is Status.FAILURE:
            settle(site, running)

    def test_of_every_tenth_packet_costs_time_alone(self, site: Site, measured: Measured) -> None:
        began = time.monotonic()
        with site.hosts["two-a"].losing(10):
            assert site.wait(site.submit("quick", "two")) is Status.SUCCESS
        measured(f"a run in {time.monotonic() - began:.0f} s")


class TestBroker:
    def test_killed_ends_no_run_and_launches_what_waited_when_it_is_back(
        self, site: Site, measured: Measured
    ) -> None:
        run_id, _ = site.begin("patient", "one")

        site.broker.kill()
        waiting = site.submit("quick", "two")
        until(lambda: "broker does not answer" in site.messages(waiting))
        assert site.status(run_id) is Status.STARTED
        site.broker.start()
        began = time.monotonic()

        assert site.wait(waiting) is Status.SUCCESS
        measured(f"launched within {time.monotonic() - began:.0f} s")
        assert site.status(run_id) is Status.STARTED
        site.open_gate(run_id)
        assert site.wait(run_id) is Status.SUCCESS


class TestPostgres:
    @pytest.mark.parametrize("seconds", [0, 30])
    def test_killed_and_back_ends_no_run(
        self, site: Site, seconds: int, measured: Measured
    ) -> None:
        patient, _ = site.begin("patient", "one")
        working = site.submit("task", "two")
        until(lambda: site.status(working) is Status.STARTED)

        site.postgres.kill()
        site.open_gate(patient)
        time.sleep(seconds)  # how long it is away is what is tried
        site.postgres.start()
        began = time.monotonic()

        assert site.wait(patient) is Status.SUCCESS
        assert site.wait(working) is Status.SUCCESS
        measured(f"ended {time.monotonic() - began:.0f} s after it was back")
        assert site.wait(site.submit("quick", "two")) is Status.SUCCESS
