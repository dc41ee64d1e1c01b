"""Retries that wait for their code server, in Dagster's own round of its daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.auto_run_reexecution import auto_run_reexecution
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from freshline.engine import retrying
from freshline.engine.retrying import keep_retrying
from run_queue import enqueue, queueing_instance

pytestmark = [
    pytest.mark.filterwarnings("ignore:Error loading repository location here:UserWarning"),
    pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning"),
]
"""Dagster's own words for a location that is away, and for the first look of its daemon."""

WAITS = "Will be retried when its code location is back"
GIVEN_UP = "Failed to retry run"


@dg.asset
def made() -> None: ...


class Daemon:
    """The part of Dagster's daemon that retries runs. No code server answers it."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._stack = ExitStack()
        self.now = 1000.0
        monkeypatch.setattr(retrying, "time", SimpleNamespace(monotonic=lambda: self.now))
        self._usual = auto_run_reexecution.retry_run, EventLogConsumerDaemon.run_iteration
        (home / "dagster.yaml").write_text("run_retries: {enabled: true, max_retries: 1}")
        self.instance = self._stack.enter_context(queueing_instance(home))
        # Nothing listens on the port of discarding.
        target = GrpcServerTarget(host="127.0.0.1", port=9, socket=None, location_name="here")
        self._context = self._stack.enter_context(WorkspaceProcessContext(self.instance, target))
        self.start()
        self.look()  # from here on it sees what fails

    def start(self) -> None:
        """Start anew: what was only in memory is gone."""
        for owner, name, usual in (
            (auto_run_reexecution, "retry_run", self._usual[0]),
            (EventLogConsumerDaemon, "run_iteration", self._usual[1]),
        ):
            self._monkeypatch.setattr(owner, name, usual)
        keep_retrying()
        self._daemon = EventLogConsumerDaemon()

    def look(self) -> None:
        for _ in self._daemon.run_iteration(self._context):
            pass

    def fail(self, location: str) -> str:
        """Let a run of `location` fail, and return its id."""
        run = enqueue(self.instance, made, location=location)
        self.instance.report_run_failed(run, "Its worker was killed.")
        return run.run_id

    def said(self, run_id: str) -> list[str]:
        events = [entry.dagster_event for entry in self.instance.all_logs(run_id)]
        texts = [event.message or "" for event in events if event]
        return [said for text in texts for said in (WAITS, GIVEN_UP) if said in text]

    def will_retry(self, run_id: str) -> str:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run.tags[WILL_RETRY_TAG]

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, monkeypatch)
    yield daemon
    daemon.stop()


def test_a_retry_waits_for_its_code_server_and_says_so_once(daemon: Daemon) -> None:
    run_id = daemon.fail("here")

    daemon.look()
    daemon.now += 3500
    daemon.look()

    assert [WAITS] == daemon.said(run_id)
    assert "true" == daemon.will_retry(run_id)


def test_a_retry_waits_on_when_the_daemon_is_started_anew(daemon: Daemon) -> None:
    run_id = daemon.fail("here")
    daemon.look()

    daemon.start()
    daemon.look()
    assert "true" == daemon.will_retry(run_id)
    daemon.now += 3700
    daemon.look()

    assert "false" == daemon.will_retry(run_id)


def test_a_retry_is_given_up_after_an_hour(daemon: Daemon) -> None:
    run_id = daemon.fail("here")
    daemon.look()

    daemon.now += 3700
    daemon.look()
    daemon.look()

    assert [WAITS, GIVEN_UP] == daemon.said(run_id)
    assert "false" == daemon.will_retry(run_id)


def test_a_location_that_is_no_part_of_the_workspace_is_not_waited_for(daemon: Daemon) -> None:
    run_id = daemon.fail("retired")

    daemon.look()

    assert [GIVEN_UP] == daemon.said(run_id)
    assert "false" == daemon.will_retry(run_id)


def test_a_run_that_is_deleted_meanwhile_holds_up_no_other(daemon: Daemon) -> None:
    deleted, run_id = daemon.fail("here"), daemon.fail("here")
    daemon.look()

    daemon.instance.delete_run(deleted)
    daemon.now += 3700
    daemon.look()

    assert [WAITS, GIVEN_UP] == daemon.said(run_id)
