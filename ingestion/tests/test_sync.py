"""One sync: started, adopted, followed through faults, failed, cancelled, terminated."""

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
    """A log that is read afterwards."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, msg: str) -> None:
        self.lines.append(msg)

    warning = info


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for the condition, looking often; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def sync(fake, fake_api, env, digests) -> Callable[..., Sync]:
    """Syncs the applied connection; what it slept is skipped."""
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
    def test_is_told(self, sync, fake, connection_id):
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

    def test_data_is_as_old_as_the_moment_before_the_job_was_posted(self, sync, fake):
        posted: list[datetime] = []
        fake.fail(
            "POST",
            "/jobs",
            after=True,
            seconds=0.05,
            also=lambda: posted.append(datetime.now(UTC)),
        )

        assert sync().started <= posted[0]

    def test_the_internal_api_is_not_needed(self, sync, fake):
        fake.internal_api = False
        sync()

        assert [] == [one for one in fake.requests if "/api/v1" in one]

    def test_sends_every_request_through_the_one_client(self, sync, fake, transport):
        """dagster-airbyte makes them; it opens no connection and asks for no token of its own."""
        fake.requests.clear()
        transport.exchanges.clear()
        fake.polls_until_done = 3
        sync()

        assert len(fake.requests) == len(transport.exchanges)
        assert 3 == transport.exchanges.count("GET /jobs/{jobId} 200")
        assert 0 == fake.count("POST /applications/token")

    @pytest.mark.parametrize(("url", "seconds"), [(None, 1), ("https://airbyte.example.com", 10)])
    def test_polls_often_in_development_alone(self, fake, fake_api, url, seconds):
        settings = AirbyteSettings(url=url or fake.url)

        assert seconds == client_of(settings, fake_api).poll_interval

    def test_what_airbyte_calls_bytes_is_read(self):
        """dagster-airbyte looks for a field that the public API does not have."""
        details = {"jobId": 1, "status": "succeeded", "jobType": "sync", "bytesSynced": 5}

        assert AirbyteJob.from_job_details(details).bytes_synced is None


class TestRunningAlready:
    def test_is_adopted_with_its_own_start(self, sync, fake, connection_id):
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=7)
        fake.add_job(connection_id, start=start.isoformat())
        done = sync()

        assert (1, True, start) == (done.job_id, done.adopted, done.started)
        assert 0 == fake.count("POST /jobs")

    def test_a_clock_that_runs_ahead_makes_nothing_fresher_than_now(
        self, sync, fake, connection_id
    ):
        ahead = datetime.now(UTC) + timedelta(hours=1)
        fake.add_job(connection_id, start=ahead.isoformat())

        assert sync().started <= datetime.now(UTC)

    def test_an_unknown_state_still_counts_as_running(self, fake, connection_id):
        fake.add_job(connection_id, status="queued")
        polls = []

        def sleep(_: float) -> None:
            polls.append(1)
            fake.jobs[1]["status"] = "succeeded"

        # The description does not know this state; some servers answer it all the same.
        with AirbyteApi(fake.settings()) as api:
            done = run_sync(fake.settings(), api, connection_id, Lines(), sleep=sleep)
        assert (1, True, [1]) == (done.job_id, done.adopted, polls)

    def test_one_that_starts_in_between_is_followed(self, sync, fake, connection_id):
        """Somebody is faster: Airbyte refuses ours with 409."""
        fake.fail("POST", "/jobs", status=409, also=lambda: fake.add_job(connection_id))

        assert 1 == sync().job_id
        assert 1 == fake.count("POST /jobs")

    def test_old_ones_are_no_matter(self, sync, fake, connection_id):
        for status in ("succeeded", "failed", "cancelled"):
            fake.add_job(connection_id, status=status)

        assert 4 == sync().job_id


class TestFaults:
    def test_a_lost_answer_to_the_start_starts_no_second_job(self, sync, fake):
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
    def test_a_fault_while_polling_passes(self, sync, fake, how):
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

    def test_a_long_outage_is_given_up(self, sync, fake, monkeypatch):
        monkeypatch.setattr("ingestion.airbyte.sync.OUTAGE_SECONDS", 0.0)
        fake.fail("GET", "/jobs/1", times=99, status=503)

        with pytest.raises(SyncError, match=r"may still be running \(the next run adopts it\)"):
            sync()
        assert 0 == fake.count("DELETE /jobs/1")

    def test_a_job_that_vanishes_is_reported(self, sync, fake):
        fake.fail("GET", "/jobs/1", times=99, status=404)

        with pytest.raises(SyncError, match="lost sight of Airbyte job 1"):
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
            ({"drop": True}, "it broke the connection off, and runs none"),
        ],
    )
    def test_a_refusal_to_start_is_told_in_airbytes_words(self, sync, fake, how, reason):
        fake.fail("POST", "/jobs", times=9, **how)

        with pytest.raises(SyncError, match=f"did not start the sync: .*{reason}"):
            sync()
        assert 1 == fake.count("POST /jobs")

    def test_a_refusal_to_start_that_repeats_a_secret(self, sync, fake):
        """The token of the request itself: no other is known to hold for this client."""

        def repeat() -> None:
            words = f"no good: {' '.join(fake.tokens)} {fake.client_secret}"
            fault.body = json.dumps({"status": 422, "detail": words}).encode()

        fault = fake.fail("POST", "/jobs", status=422, also=repeat)
        with pytest.raises(SyncError, match=r"no good: \*+ ") as caught:
            sync()
        assert [] == [one for one in (*fake.tokens, fake.client_secret) if one in str(caught.value)]

    def test_a_connector_that_the_embedded_airbyte_lacks_is_named(
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
    def test_speaks_airbytes_own_words(self, sync, fake):
        fake.outcome = "failed"

        with pytest.raises(SyncError, match="job 1 failed: The source refused the token"):
            sync()

    def test_without_the_internal_api_there_are_none(self, sync, fake):
        fake.outcome = "failed"
        fake.internal_api = False

        with pytest.raises(SyncError, match=r"Airbyte job 1 failed \(http"):
            sync()

    def test_a_job_cancelled_in_airbyte_fails_the_run(self, sync, fake):
        fake.outcome = "cancelled"

        with pytest.raises(SyncError, match="job 1 was cancelled in Airbyte"):
            sync()

    def test_of_the_embedded_airbyte_as_well(self, embedded, applied, arm):
        arm(kind="job_failed")
        connection_id = applied.one("connection")["connectionId"]

        with pytest.raises(SyncError, match=r"Airbyte job \d+ failed: \w+"):
            run_sync(embedded, applied.api, connection_id, Lines())


class TestInterruption:
    @pytest.mark.parametrize(
        "interruption", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError]
    )
    def test_cancels_the_job(self, sync, fake, interruption):
        def sleep(_: float) -> None:
            raise interruption

        fake.polls_until_done = 9
        with pytest.raises(interruption):
            sync(sleep=sleep)
        assert "cancelled" == fake.jobs[1]["status"]

    def test_leaves_a_job_alone_that_it_adopted(self, sync, fake, connection_id):
        def sleep(_: float) -> None:
            raise KeyboardInterrupt

        fake.polls_until_done = 9
        fake.add_job(connection_id)
        with pytest.raises(KeyboardInterrupt):
            sync(sleep=sleep)
        assert "running" == fake.jobs[1]["status"]

    def test_survives_an_airbyte_that_cannot_cancel(self, sync, fake):
        def sleep(_: float) -> None:
            raise KeyboardInterrupt

        log = Lines()
        fake.polls_until_done = 9
        fake.fail("DELETE", "/jobs/1", times=99, status=500)
        with pytest.raises(KeyboardInterrupt):
            sync(log=log, sleep=sleep)
        assert "could not be cancelled" in log.lines[-1]

    @pytest.mark.usefixtures("sync")
    def test_of_a_real_run_cancels_the_job(self, fake, env, database, tmp_path):
        """A run in a process of its own gets the signal that Dagster terminates runs with."""
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
