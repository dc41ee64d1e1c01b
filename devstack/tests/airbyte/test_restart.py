"""Restarts of the server: everything that clients have made is still there, and so are the jobs."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from helpers import until
from helpers_airbyte import EVENTS, Airbyte, register_fake

DEDUP = {"name": "events", "syncMode": "incremental_deduped_history"}


class Restartable:
    """A server that can be stopped and started again over the same database and folder."""

    def __init__(self, start: Any, **options: Any) -> None:
        self._start = start
        self._options = options
        self.begin()

    def begin(self) -> None:
        self.program = self._start(**self._options)
        self.airbyte = Airbyte(self.program)

    def end(self) -> None:
        self.airbyte.close()
        self.program.stop()


@pytest.fixture
def running(airbyte_server: Any, devstack_launcher: Any, control: Any, tmp_path: Path) -> Any:
    server = Restartable(
        airbyte_server,
        database_url=control.dsn,
        data=devstack_launcher.new_folder("airbyte"),
        connectors=register_fake(tmp_path),
    )
    yield server
    server.end()


class TestRestart:
    def test_jobs_connections_and_tokens_survive_a_restart(
        self, running: Any, database: Any
    ) -> None:
        """A job that was running has failed, with the reason; it keeps its number of rows."""
        airbyte = running.airbyte
        source = airbyte.new_source(rows=1000, page=10, pause=0.2, token="hunter2")
        destination = airbyte.new_destination(database.dsn)
        connection = airbyte.new_connection(source, destination, DEDUP)
        before = [airbyte.ask("GET", f"{path}?limit=100") for path in ("sources", "connections")]
        job = airbyte.start(connection)
        until(lambda: airbyte.ask("GET", f"jobs/{job}")["rowsSynced"])
        token = airbyte._token
        facts = running.program.facts
        running.end()
        running.begin()
        airbyte = running.airbyte
        after = [airbyte.ask("GET", f"{path}?limit=100") for path in ("sources", "connections")]
        ended = airbyte.ask("GET", f"jobs/{job}")
        with_old_token = httpx.get(
            f"{running.program.url}/api/public/v1/workspaces",
            headers={"Authorization": f"Bearer {token}"},
        )

        assert before == after
        assert {**facts, "url": running.program.url} == running.program.facts
        assert 200 == with_old_token.status_code
        assert "failed" == ended["status"]
        assert ended["rowsSynced"] > 0
        assert (
            "The Airbyte server was stopped while this job was running."
            == airbyte.failure(job)["externalMessage"]
        )

    def test_credentials_and_logs_are_for_their_owner_alone(self, running: Any) -> None:
        file = running._options["data"] / "credentials.json"
        logs = running._options["data"] / "logs"

        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        assert 0o700 == stat.S_IMODE(logs.stat().st_mode)

    def test_secrets_are_not_logged(self, running: Any, database: Any) -> None:
        """Neither by the server nor in a job's log, not even when the job fails."""
        airbyte = running.airbyte
        leak = "the token is hunter2"
        source = airbyte.new_source(
            rows=9, fail_after=5, ending="exit", token="hunter2", stderr=leak, log=leak
        )
        destination = airbyte.new_destination(database.dsn)
        job = airbyte.sync(airbyte.new_connection(source, destination, DEDUP))
        reason = airbyte.failure(job["jobId"])
        shown = airbyte.internal("jobs/get", id=job["jobId"])["attempts"][0]["logs"]["logLines"]
        logs = "".join(
            file.read_text() for file in (running._options["data"] / "logs").glob("*.log")
        )

        assert "connector WARN: the token is **********" in shown
        assert "the token is **********" in reason["internalMessage"]
        for text in (logs, running.program.log, str(reason)):
            assert "hunter2" not in text
            assert database.password not in text


class TestLeftovers:
    @pytest.mark.parametrize("how", ["cancelled", "server stopped", "server killed"])
    def test_a_configuration_does_not_outlive_its_sync(
        self, running: Any, database: Any, how: str
    ) -> None:
        """A connector reads it from a file, in which secrets are in clear text."""
        airbyte, data = running.airbyte, running._options["data"]
        source = airbyte.new_source(rows=1000, page=10, pause=0.2, token="hunter2")
        connection = airbyte.new_connection(source, airbyte.new_destination(database.dsn), DEDUP)
        job = airbyte.start(connection)
        (file,) = until(lambda: holding("hunter2", data))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, *file.parents[:3])]
        if how == "cancelled":
            airbyte.ask("DELETE", f"jobs/{job}")
        elif how == "server stopped":
            running.end()
        else:
            running.program.kill()
            running.end()
            running.begin()

        assert [0o600, 0o700, 0o700, 0o700] == modes
        assert [] == holding("hunter2", data)


def holding(text: str, folder: Path) -> list[Path]:
    """Return the files in a folder that contain a text; some may be deleted meanwhile."""
    found = []
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if file.is_file() and text in file.read_text(errors="replace"):
                found.append(file)
    return found


class TestDatabaseAway:
    def test_server_does_not_start_and_says_why(self, devstack_launcher: Any) -> None:
        with pytest.raises(pytest.fail.Exception, match="cannot be reached"):
            devstack_launcher.serve(
                "airbyte",
                data=devstack_launcher.new_folder("airbyte"),
                database_url="postgresql://nobody:hunter2@127.0.0.1:1/nowhere",
            )


class TestNewVersion:
    def test_new_field_of_a_stream_becomes_a_column(
        self, running: Any, database: Any, warehouse: psycopg.Connection[Any], tmp_path: Path
    ) -> None:
        """Rows that are not read again have null in it.

        Rows 3 to 5 are read: the second sync begins again with the last second of the first.
        """
        airbyte = running.airbyte
        source = airbyte.new_source(rows=5)
        destination = airbyte.new_destination(database.dsn)
        without = {"properties": dict(EVENTS["json_schema"]["properties"])}
        del without["properties"]["name"]
        running.end()
        register_fake(tmp_path, [{**EVENTS, "json_schema": without}])
        running.begin()
        connection = running.airbyte.new_connection(source, destination, DEDUP)
        running.airbyte.sync(connection)
        running.end()
        register_fake(tmp_path)
        running.begin()
        running.airbyte.ask("PATCH", f"sources/{source}", json={"configuration": {"rows": 6}})
        job = running.airbyte.sync(connection)

        assert "succeeded" == job["status"]
        assert [None, None, None, "event 3", "event 4", "event 5"] == [
            name for (name,) in warehouse.execute("select name from events order by id")
        ]
