"""Runs by warm workers: what happens to them when something fails, and when code changes.

One workspace for all tests: two teams, each with its own worker, the real daemon, Postgres and
broker. Every test leaves it as it was.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import psutil
import pytest
import redis
import yaml
from conftest import write_instance
from devstack_fixtures import Database, Launcher, PostgresServer, Program
from engine_teams import CODE, Server, Teams, running_teams, until
from freshline.engine.broker import Broker as Words

Status = dg.DagsterRunStatus


@pytest.fixture(scope="module")
def broker(broker_server: Callable[..., Program], devstack_launcher: Launcher) -> Server:
    data = devstack_launcher.new_folder("broker")
    return Server(broker_server, data=data, password=secrets.token_hex(16))


@pytest.fixture(scope="module")
def postgres(devstack_launcher: Launcher) -> Server:
    """A Postgres of its own, because it is killed."""
    start = partial(devstack_launcher.serve, "postgres", kind=PostgresServer)
    return Server(start, data=devstack_launcher.new_folder("postgres"))


@pytest.fixture(scope="module")
def teams(
    broker: Server, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Teams]:
    folder: Path = tmp_path_factory.mktemp("teams")
    server = postgres.program
    database = Database(server.host, server.port, server.user, server.password, server.database)
    write_instance(folder, database)
    storage = yaml.safe_load((folder / "dagster.yaml").read_text())
    with running_teams(folder, broker.program.url, storage) as teams:
        yield teams


class TestARun:
    def test_is_made_by_a_fork_of_the_worker_of_its_location(self, teams: Teams) -> None:
        run_id = teams.submit("quick", "two")

        assert teams.wait(run_id) is Status.SUCCESS
        worker = psutil.Process(teams.made(run_id, "parent"))
        assert '"location": "two"' in worker.cmdline()[-1]
        assert worker.ppid() == teams.workers["two"].pid

    def test_leaves_no_lock_behind(self, teams: Teams) -> None:
        run_id = teams.submit("locker")

        assert teams.wait(run_id) is Status.SUCCESS
        lock = Path("/dev/shm", f"sem{teams.made(run_id, 'lock').replace('/', '.')}")  # noqa: S108
        until(lambda: not lock.exists())

    def test_may_have_processes_of_its_own_as_in_dagsters_default_executor(
        self, teams: Teams
    ) -> None:
        default = CODE.replace(", executor=dg.in_process_executor", "")
        self.load(teams, lambda: teams.write_code("two", default))

        run_id = teams.submit("quick", "two")

        assert teams.wait(run_id) is Status.SUCCESS, teams.messages(run_id)
        assert "A new Python makes this run" not in teams.messages(run_id)
        assert "Launching subprocess" in teams.messages(run_id)
        self.load(teams, lambda: teams.write("two", "first"))

    def load(self, teams: Teams, write: Callable[[], None]) -> None:
        """Write the code of `two`, and wait until its worker has loaded it."""
        said = teams.worker_log.count("two: takes runs")
        write()
        until(lambda: teams.worker_log.count("two: takes runs") > said, why=teams.worker_log)

    def test_that_is_terminated_is_canceled_with_all_that_it_has_started(
        self, teams: Teams
    ) -> None:
        run_id, process = teams.begin("starter")
        started = psutil.Process(process).children(recursive=True)
        assert any("4321" in one.cmdline() for one in started)

        assert teams.instance.run_launcher.terminate(run_id)

        assert teams.wait(run_id) is Status.CANCELED
        _, left = psutil.wait_procs(started, 20)
        assert not left

    def test_that_waits_for_a_place_can_be_canceled_and_the_next_has_its_turn(
        self, teams: Teams
    ) -> None:
        teams.stop_worker("one")
        teams.start_worker("one", "--places", "1")
        first, _ = teams.begin("patient")
        second = teams.submit("quick")
        teams.await_message(second, "all places of the workers of one are taken (1)")

        assert teams.instance.run_coordinator.cancel_run(second)
        teams.put_back(second)
        third = teams.submit("quick")
        teams.open_gate(first)

        assert teams.wait(second) is Status.CANCELED
        assert teams.wait(first) is Status.SUCCESS
        assert teams.wait(third) is Status.SUCCESS
        teams.stop_worker("one")
        teams.start_worker("one")


class TestFaults:
    def test_a_killed_run_fails_and_is_tried_again_once(self, teams: Teams) -> None:
        run_id, process = teams.begin("patient")

        os.kill(process, signal.SIGKILL)

        assert teams.wait(run_id) is Status.FAILURE
        self.wait_for_retry(teams, run_id)

    def test_runs_of_a_killed_worker_end_fail_and_are_tried_again(self, teams: Teams) -> None:
        run_id, process = teams.begin("starter")
        family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]

        os.kill(psutil.Process(process).ppid(), signal.SIGKILL)

        assert teams.wait(run_id) is Status.FAILURE
        _, left = psutil.wait_procs(family, 20)
        assert not left
        retry = until(lambda: teams.retry_of(run_id)).run_id
        teams.await_message(retry, "Started execution of step")
        teams.instance.run_launcher.terminate(retry)
        assert teams.wait(retry) is Status.CANCELED

    def test_a_run_that_was_given_up_writes_nothing_any_more(self, teams: Teams) -> None:
        """A host is cut off for a while: nothing is heard of its run."""
        run_id, process = teams.begin("patient")
        run = psutil.Process(process)
        run.suspend()
        assert teams.wait(run_id) is Status.FAILURE
        known = teams.messages(run_id)

        teams.open_gate(run_id)
        run.resume()

        run.wait(20)
        assert teams.status(run_id) is Status.FAILURE
        said_since = teams.messages(run_id).replace(known, "")
        assert "materialized" not in said_since.lower()
        self.wait_for_retry(teams, run_id)

    def test_a_retry_waits_for_its_location_also_when_the_daemon_is_started_anew(
        self, teams: Teams
    ) -> None:
        """Its worker has loaded it before it was broken."""
        run_id, process = teams.begin("patient")
        teams.write_code("one", "this is no Python")
        self.restart_daemon(teams)

        os.kill(process, signal.SIGKILL)

        assert teams.wait(run_id) is Status.FAILURE
        teams.await_message(run_id, "Will be retried when its code location is back")
        teams.write("one", "first")
        self.restart_daemon(teams)
        self.wait_for_retry(teams, run_id)

    def restart_daemon(self, teams: Teams) -> None:
        """Kill the daemon alone, and start another one. Its code servers end by themselves."""
        teams.daemon.kill()
        teams.daemon.wait()
        teams.start_daemon()

    def test_a_run_goes_on_without_the_broker_and_others_wait_for_it(
        self, teams: Teams, broker: Server
    ) -> None:
        run_id, _ = teams.begin("patient")
        broker.kill()
        waiting = teams.submit("quick")
        teams.await_message(waiting, "broker does not answer")
        assert teams.status(waiting) in (Status.QUEUED, Status.STARTING)
        assert teams.status(run_id) is Status.STARTED

        broker.start()

        assert teams.wait(waiting) is Status.SUCCESS
        assert teams.status(run_id) is Status.STARTED
        teams.open_gate(run_id)
        assert teams.wait(run_id) is Status.SUCCESS

    def test_a_run_waits_for_a_database_that_is_away(self, teams: Teams, postgres: Server) -> None:
        run_id, _ = teams.begin("patient")

        postgres.kill()
        teams.open_gate(run_id)
        time.sleep(8)  # Dagster itself tries for six seconds to connect
        postgres.start()

        assert teams.wait(run_id) is Status.SUCCESS
        assert teams.wait(teams.submit("quick")) is Status.SUCCESS

    def test_workers_end_when_their_supervisor_is_killed(self, teams: Teams) -> None:
        """Nobody would tell them any more that their code has changed."""
        run_id, _ = teams.begin("patient")
        supervisor = teams.workers["one"]
        workers = psutil.Process(supervisor.pid).children()

        supervisor.kill()
        teams.open_gate(run_id)

        assert teams.wait(run_id) is Status.SUCCESS
        _, left = psutil.wait_procs(workers, 30)
        assert not left
        supervisor.wait()
        teams.start_worker("one")

    def test_a_run_that_is_handed_out_twice_is_made_by_one_process(self, broker: Server) -> None:
        words = Words(broker.program.url)

        assert words.claim_run("a run", "one process")
        assert not words.claim_run("a run", "another process")
        assert words.claim_run("a run", "one process")  # it was said so, but did not hear it
        assert words.claim_run("another run", "another process")

    def test_without_a_worker_a_run_waits_in_the_queue_and_other_teams_go_on(
        self, teams: Teams
    ) -> None:
        teams.stop_worker("one")

        waiting = teams.submit("quick", "one")
        teams.await_message(waiting, "no worker of one since")
        assert teams.wait(teams.submit("quick", "two")) is Status.SUCCESS
        status = teams.status(waiting)
        assert status in (Status.QUEUED, Status.STARTING), teams.messages(waiting)

        teams.start_worker("one")
        assert teams.wait(waiting) is Status.SUCCESS

    def test_the_last_word_of_a_worker_is_that_it_leaves(
        self, teams: Teams, broker: Server
    ) -> None:
        """Celery needs as long to end as there is between two words: one round may see nothing."""
        for _ in range(3):
            teams.stop_worker("one")
            workers = Words(broker.program.url).workers()
            last = next(worker for worker in workers if worker.location == "one")
            teams.start_worker("one")
            assert last.leaving

    def test_a_run_goes_back_into_the_queue_when_its_worker_ends_before_it_takes_it(
        self, teams: Teams, broker: Server
    ) -> None:
        """The worker says that it is there, and takes nothing: it is stopped, as on a lost host."""
        supervisor = teams.workers.pop("one")
        family = psutil.Process(supervisor.pid).children(recursive=True)
        for process in family:
            process.suspend()
        until(lambda: not self.is_asked_by(broker, family))
        waiting = teams.submit("quick")
        teams.await_message(waiting, "waits for a worker of one")

        for process in [psutil.Process(supervisor.pid), *family]:
            process.kill()
        supervisor.wait()

        teams.await_message(waiting, "Back into the queue")
        teams.await_message(waiting, "no worker of one since")
        teams.start_worker("one")
        assert teams.wait(waiting) is Status.SUCCESS

    def is_asked_by(self, broker: Server, family: list[psutil.Process]) -> bool:
        """Return whether one of the processes has asked the broker for a run, and waits for it."""
        ports = {it.laddr.port for process in family for it in process.net_connections()}
        with redis.Redis.from_url(broker.program.url) as client:
            waiting = [it["addr"] for it in client.client_list() if "b" in it["flags"]]
        return any(int(address.rpartition(":")[2]) in ports for address in waiting)

    def wait_for_retry(self, teams: Teams, run_id: str) -> None:
        """Wait until a run is tried again, and let that run end."""
        retry = until(lambda: teams.retry_of(run_id)).run_id
        teams.open_gate(retry)
        assert teams.wait(retry) is Status.SUCCESS


class TestCode:
    def test_the_next_run_after_an_edit_has_the_new_code_and_later_ones_are_warm(
        self, teams: Teams
    ) -> None:
        said = teams.worker_log.count("one: takes runs")
        workers = psutil.Process(teams.workers["two"].pid).children()

        teams.write("one", "second")
        run_id = teams.submit("quick")

        assert teams.wait(run_id) is Status.SUCCESS
        assert "second" == teams.made(run_id, "text")
        until(lambda: teams.worker_log.count("one: takes runs") > said)
        later = teams.submit("quick")
        assert teams.wait(later) is Status.SUCCESS
        assert "second" == teams.made(later, "text")
        worker = psutil.Process(teams.made(later, "parent"))
        assert worker.ppid() == teams.workers["one"].pid
        assert workers == psutil.Process(teams.workers["two"].pid).children()

    def test_the_next_run_after_an_edit_has_the_new_settings_of_the_instance(
        self, teams: Teams
    ) -> None:
        said = teams.worker_log.count("one: takes runs")
        settings = teams.folder / "dagster.yaml"
        settings.write_text(f"{settings.read_text()}\n# edited\n")
        run_id = teams.submit("quick")

        assert teams.wait(run_id) is Status.SUCCESS
        assert f"A new Python makes this run: {settings} has changed" in teams.messages(run_id)
        until(lambda: teams.worker_log.count("one: takes runs") > said)

    def test_code_that_does_not_load_fails_its_runs_and_is_loaded_when_it_is_mended(
        self, teams: Teams
    ) -> None:
        teams.write_code("one", CODE + "\nraise RuntimeError('broken on purpose')\n")
        run_id = teams.submit("quick")
        assert teams.wait(run_id) is Status.FAILURE
        assert "Could not load job definition" in teams.messages(run_id)

        said = teams.worker_log.count("one: takes runs")
        teams.write("one", "third")
        until(lambda: teams.worker_log.count("one: takes runs") > said, why=teams.worker_log)
        run_id = teams.submit("quick")

        assert teams.wait(run_id) is Status.SUCCESS
        assert "third" == teams.made(run_id, "text")

    def test_a_worker_that_is_told_to_end_ends_its_runs_first_while_a_new_one_serves(
        self, teams: Teams
    ) -> None:
        run_id, process = teams.begin("patient")
        old = teams.workers["one"]
        old.terminate()

        teams.start_worker("one")
        assert teams.wait(teams.submit("quick")) is Status.SUCCESS
        assert teams.status(run_id) is Status.STARTED
        assert psutil.pid_exists(process)

        teams.open_gate(run_id)
        assert teams.wait(run_id) is Status.SUCCESS
        assert 0 == old.wait(60)

    def test_a_run_of_an_image_that_is_gone_is_made_in_the_one_that_is_served(
        self, teams: Teams, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        teams.stop_worker("one")
        with monkeypatch.context() as patch:
            patch.setenv("DAGSTER_CURRENT_IMAGE", "registry.example/one:2")
            teams.start_worker("one")

        run_id = teams.submit("quick")

        assert teams.wait(run_id) is Status.SUCCESS
        teams.stop_worker("one")
        teams.start_worker("one")
