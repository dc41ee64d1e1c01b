"""One sync: how its job is started or adopted, followed, and cancelled; what happens on faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster_airbyte.translator import AirbyteJob
from ingestion.airbyte.apply import apply, connection_id_of
from ingestion.airbyte.client import AirbyteApi
from ingestion.airbyte.sync import Sync, client_of, run_sync
from ingestion.connections import fetch_stargazer
from ingestion.errors import SyncError
from ingestion.settings import AirbyteSettings

REFUSAL = b"""{"status": 422, "title": "unprocessable-entity", "detail": "Not understood",
"data": {"message": "the connector GitHub is not installed: source-github is missing"}}"""


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, msg: str) -> None:
        self.lines.append(msg)

    warning = info


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for the condition; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)


@pytest.fixture
def sync(fake, fake_api, env, digests) -> Callable[..., Sync]:
    """Syncs the applied connection on the fake Airbyte, without sleeping."""
    apply(fake_api, [fetch_stargazer], env, digests)
    fake.requests.clear()
    connection_id = connection_id_of(fake_api, fetch_stargazer)

    def run(log: Lines | None = None, sleep: Callable[[float], None] = lambda _: None) -> Sync:
        return run_sync(fake.settings(), fake_api, connection_id, log or Lines(), sleep=sleep)

    return run


@pytest.fixture
def connection_id(sync, fake) -> str:
    return str(fake.only("connection")["connectionId"])


class TestSuccess:
    def test_a_sync_returns_its_job_rows_and_link(self, sync, fake, connection_id):
        fake.polls_until_done = 3
        before = datetime.now(UTC)
        done = sync()

        assert (1, 3, 300, False) == (done.job_id, done.rows, done.bytes, done.adopted)
        assert connection_id == done.connection_id
        assert before <= done.started <= datetime.now(UTC)
        assert done.url == (
            f"{fake.url}/workspaces/{fake.workspace_id}/connections/{connection_id}/"
            "timeline?openLogs=true&jobId=1"
        )
        assert 1 == fake.count("POST /jobs")

    def test_data_time_is_before_the_job_was_posted(self, sync, fake):
        posted: list[datetime] = []
        fake.fail(
            "POST",
            "/jobs",
            after=True,
            seconds=0.05,
            also=lambda: posted.append(datetime.now(UTC)),
        )

        assert sync().started <= posted[0]

    def test_a_sync_needs_no_internal_api(self, sync, fake):
        fake.internal_api = False
        sync()

        assert [] == [one for one in fake.requests if "/api/v1" in one]

    def test_a_sync_sends_every_request_through_the_one_client(self, sync, fake, transport):
        """dagster-airbyte makes them; it opens no connection and asks for no token of its own."""
        fake.requests.clear()
        transport.exchanges.clear()
        fake.polls_until_done = 3
        sync()

        assert len(fake.requests) == len(transport.exchanges)
        assert 3 == transport.exchanges.count("GET /jobs/{jobId} 200")
        assert 0 == fake.count("POST /applications/token")

    @pytest.mark.parametrize(("url", "seconds"), [(None, 1), ("https://airbyte.example.com", 10)])
    def test_polls_every_second_only_in_development(self, fake, fake_api, url, seconds):
        settings = AirbyteSettings(url=url or fake.url)

        assert seconds == client_of(settings, fake_api).poll_interval

    def test_dagster_airbyte_does_not_read_bytes_synced(self):
        """dagster-airbyte looks for a field that the public API does not have."""
        details = {"jobId": 1, "status": "succeeded", "jobType": "sync", "bytesSynced": 5}

        assert AirbyteJob.from_job_details(details).bytes_synced is None


class TestJobBefore:
    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
    @pytest.mark.parametrize("kind", ["sync", "reset", "clear", "refresh"])
    def test_any_job_counts(self, sync, fake, connection_id, status, kind):
        sync()
        fake.add_job(connection_id, status=status, type_=kind)

        assert 2 == sync().previous_job_id

    def test_there_is_none_before_the_first(self, sync):
        assert sync().previous_job_id is None

    def test_jobs_of_other_connections_do_not_count(self, sync, fake):
        sync()
        fake.add_job("another", status="succeeded")

        assert 1 == sync().previous_job_id

    def test_it_is_not_known_once_a_newer_one_has_begun(self, sync, fake, connection_id):
        sync()
        fake.fail(
            "GET", "/jobs/2", after=True, seconds=0.01, also=lambda: fake.add_job(connection_id)
        )

        assert (2, None) == ((done := sync()).job_id, done.previous_job_id)

    def test_a_sync_succeeds_when_airbyte_cannot_list_its_jobs(self, sync, fake):
        sync()
        log = Lines()
        fake.fail(
            "GET",
            "/jobs/2",
            after=True,
            seconds=0.01,
            also=lambda: fake.fail("GET", "/jobs", times=99, status=500),
        )
        done = sync(log)

        assert (2, None) == (done.job_id, done.previous_job_id)
        assert log.lines[-1].startswith("cannot see which job came before Airbyte job 2: ")


class TestRunningAlready:
    def test_a_running_job_is_adopted_with_its_own_start(self, sync, fake, connection_id):
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=7)
        fake.add_job(connection_id, start=start.isoformat())
        done = sync()

        assert (1, True, start) == (done.job_id, done.adopted, done.started)
        assert 0 == fake.count("POST /jobs")

    def test_data_time_is_not_in_the_future_when_airbytes_clock_is_ahead(
        self, sync, fake, connection_id
    ):
        ahead = datetime.now(UTC) + timedelta(hours=1)
        fake.add_job(connection_id, start=ahead.isoformat())

        assert sync().started <= datetime.now(UTC)

    def test_a_job_in_an_unknown_state_counts_as_running(self, fake, connection_id):
        fake.add_job(connection_id, status="queued")
        polls = []

        def sleep(_: float) -> None:
            polls.append(1)
            fake.jobs[1]["status"] = "succeeded"

        # This client checks no answers: the description has no such state, but some servers do.
        with AirbyteApi(fake.settings()) as api:
            done = run_sync(fake.settings(), api, connection_id, Lines(), sleep=sleep)
        assert (1, True, [1]) == (done.job_id, done.adopted, polls)

    def test_a_job_that_somebody_starts_first_is_followed(self, sync, fake, connection_id):
        """Airbyte refuses the job of this run with 409."""
        fake.fail("POST", "/jobs", status=409, also=lambda: fake.add_job(connection_id))

        assert 1 == sync().job_id
        assert 1 == fake.count("POST /jobs")

    def test_ended_jobs_are_ignored(self, sync, fake, connection_id):
        for status in ("succeeded", "failed", "cancelled"):
            fake.add_job(connection_id, status=status)

        assert 4 == sync().job_id


class TestFaults:
    def test_no_second_job_starts_when_the_answer_is_lost(self, sync, fake):
        fake.fail("POST", "/jobs", after=True, drop=True)

        assert 1 == sync().job_id
        assert 1 == fake.count("POST /jobs")
        assert [1] == list(fake.jobs)

    @pytest.mark.parametrize(
        "how",
        [
            {"status": 500, "times": 3},
            {"status": 401},
            {"status": 502, "body": b"<html>", "times": 3},
            {"drop": True, "times": 3},
        ],
    )
    def test_polling_goes_on_after_a_passing_fault(self, sync, fake, how):
        fake.polls_until_done = 2
        fake.fail("GET", "/jobs/1", **how)

        assert 1 == sync().job_id
        assert "succeeded" == fake.jobs[1]["status"]

    def test_a_token_that_expires_while_polling_is_replaced(self, sync, fake):
        fake.polls_until_done = 12
        fake.token_uses = 3
        sync()

        assert 1 == fake.count("POST /jobs")
        assert fake.count("POST /applications/token") > 3

    def test_a_run_gives_up_after_a_long_outage(self, sync, fake, monkeypatch):
        monkeypatch.setattr("ingestion.airbyte.sync.OUTAGE_SECONDS", 0.0)
        fake.fail("GET", "/jobs/1", times=99, status=503)

        with pytest.raises(SyncError, match=r"may still be running \(the next run adopts it\)"):
            sync()
        assert 0 == fake.count("DELETE /jobs/1")

    def test_a_job_that_vanishes_is_reported(self, sync, fake):
        fake.fail("GET", "/jobs/1", times=99, status=404)

        with pytest.raises(SyncError, match="cannot follow Airbyte job 1 any more"):
            sync()

    def test_an_inactive_connection_is_named(self, sync, fake):
        fake.only("connection")["status"] = "inactive"

        with pytest.raises(SyncError, match="fetch_stargazer is inactive in Airbyte"):
            sync()

    @pytest.mark.parametrize(
        ("how", "reason"),
        [
            ({"status": 422, "body": REFUSAL}, "the connector GitHub is not installed"),
            ({"status": 422, "body": b"{}"}, "it answered 422 and gave no reason"),
            ({"status": 502, "body": b"<html>", "content_type": "text/html"}, "a proxy in between"),
            ({"drop": True}, "it broke off the connection, and no job runs"),
        ],
    )
    def test_a_refusal_to_start_shows_airbytes_reason(self, sync, fake, how, reason):
        fake.fail("POST", "/jobs", times=9, **how)

        with pytest.raises(SyncError, match=f"did not start the sync: .*{reason}"):
            sync()
        assert 1 == fake.count("POST /jobs")

    def test_a_refusal_to_start_shows_no_secret(self, sync, fake):
        """Not even the token of the request itself."""

        def repeat() -> None:
            words = f"no good: {' '.join(fake.tokens)} {fake.client_secret}"
            fault.body = json.dumps({"status": 422, "detail": words}).encode()

        fault = fake.fail("POST", "/jobs", status=422, also=repeat)
        with pytest.raises(SyncError, match=r"no good: \*+ ") as caught:
            sync()
        assert [] == [one for one in (*fake.tokens, fake.client_secret) if one in str(caught.value)]

    def test_a_connector_that_is_not_installed_is_named(
        self, database, airbyte_server, new_api, env, digests, monkeypatch
    ):
        monkeypatch.setenv("DEVSTACK_CONNECTOR_GITHUB", "/absent/source-github")
        server = airbyte_server(database_url=database.dsn)
        settings = AirbyteSettings(
            url=server.url, client_id=server.client_id, client_secret=server.client_secret
        )
        api = new_api(settings)
        apply(api, [fetch_stargazer], env, digests)

        with pytest.raises(SyncError, match="GitHub is not installed: /absent/source-github is"):
            run_sync(settings, api, connection_id_of(api, fetch_stargazer), Lines())
        server.stop()


class TestFailure:
    def test_a_failed_job_shows_airbytes_reason(self, sync, fake):
        fake.outcome = "failed"

        with pytest.raises(SyncError, match="job 1 failed: The source refused the token"):
            sync()

    def test_a_failed_job_has_no_reason_without_the_internal_api(self, sync, fake):
        fake.outcome = "failed"
        fake.internal_api = False

        with pytest.raises(SyncError, match=r"Airbyte job 1 failed \(http"):
            sync()

    def test_a_job_cancelled_in_airbyte_fails_the_run(self, sync, fake):
        fake.outcome = "cancelled"

        with pytest.raises(SyncError, match="job 1 was cancelled in Airbyte"):
            sync()

    def test_a_failed_job_of_the_embedded_airbyte_fails_the_sync(self, embedded, applied, arm):
        arm(kind="job_failed")
        connection_id = applied.one("connection")["connectionId"]

        with pytest.raises(SyncError, match=r"Airbyte job \d+ failed: \w+"):
            run_sync(embedded, applied.api, connection_id, Lines())


class TestInterruption:
    @pytest.mark.parametrize(
        "interruption", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError]
    )
    def test_a_termination_cancels_the_job(self, sync, fake, interruption):
        def sleep(_: float) -> None:
            raise interruption

        fake.polls_until_done = 9
        with pytest.raises(interruption):
            sync(sleep=sleep)
        assert "cancelled" == fake.jobs[1]["status"]

    def test_a_termination_does_not_cancel_an_adopted_job(self, sync, fake, connection_id):
        def sleep(_: float) -> None:
            raise KeyboardInterrupt

        fake.polls_until_done = 9
        fake.add_job(connection_id)
        with pytest.raises(KeyboardInterrupt):
            sync(sleep=sleep)
        assert "running" == fake.jobs[1]["status"]

    def test_a_termination_goes_on_when_airbyte_cannot_cancel(self, sync, fake):
        def sleep(_: float) -> None:
            raise KeyboardInterrupt

        log = Lines()
        fake.polls_until_done = 9
        fake.fail("DELETE", "/jobs/1", times=99, status=500)
        with pytest.raises(KeyboardInterrupt):
            sync(log=log, sleep=sleep)
        assert "could not be cancelled" in log.lines[-1]

    @pytest.mark.usefixtures("sync")
    def test_a_terminated_run_cancels_its_job(self, fake, env, database, tmp_path):
        """The run is a process of its own, and gets the signal with which Dagster ends runs."""
        program = (
            "import dagster as dg\n"
            "from ingestion.definitions import defs\n"
            "keys = [dg.AssetKey(['postgres', t]) for t in ('stargazers', 'stargazers_user')]\n"
            "job = defs.resolve_implicit_global_asset_job_def()\n"
            "job.execute_in_process(asset_selection=keys)\n"
        )
        fake.polls_until_done = 10_000
        settings = {
            **database.environ("WAREHOUSE"),
            "AIRBYTE_URL": fake.url,
            "AIRBYTE_CLIENT_ID": fake.client_id,
            "AIRBYTE_CLIENT_SECRET": fake.client_secret,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **env, **settings, "DAGSTER_HOME": str(tmp_path)},
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: fake.count("GET /jobs/1") > 0 or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
            process.wait()

        assert "cancelled" == fake.jobs[1]["status"]
        assert 0 != process.returncode
