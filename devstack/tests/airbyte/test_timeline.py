"""The page that a link to a job opens."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from helpers import until
from helpers_airbyte import Airbyte

DEDUP = {"name": "events", "syncMode": "incremental_deduped_history"}


class Clicked:
    """A connection of the fake source. `open` gets the page of a job without a token."""

    def __init__(self, airbyte: Airbyte, dsn: str, **source: Any) -> None:
        self.airbyte = airbyte
        destination = airbyte.new_destination(dsn)
        self.connection = airbyte.new_connection(airbyte.new_source(**source), destination, DEDUP)

    def open(self, job: object, **path: str) -> httpx.Response:
        ids = {"workspaces": self.airbyte.workspace, "connections": self.connection, **path}
        where = "/".join(f"{kind}/{one}" for kind, one in ids.items())
        url = f"{self.airbyte.server.url}/{where}/timeline"
        return httpx.get(url, params={"openLogs": "true", "jobId": str(job)})


def test_succeeded_job_is_shown_with_its_rows(airbyte: Airbyte, database: Any) -> None:
    clicked = Clicked(airbyte, database.dsn, rows=1500)
    job = airbyte.sync(clicked.connection)
    page = clicked.open(job["jobId"])

    assert 200 == page.status_code
    assert page.headers["content-type"].startswith("text/html")
    assert f"<h1>Job {job['jobId']}: succeeded</h1>" in page.text
    assert "<th>Rows</th><td>1,500</td>" in page.text
    assert f"<th>Bytes</th><td>{job['bytesSynced']:,}</td>" in page.text
    assert f"<td>{job['startTime'][:10]} {job['startTime'][11:19]} UTC</td>" in page.text
    assert "Failure" not in page.text
    assert "refresh" not in page.text


def test_failed_job_is_shown_with_its_reason_and_without_secrets(
    airbyte: Airbyte, database: Any
) -> None:
    clicked = Clicked(
        *(airbyte, database.dsn),
        rows=100,
        fail_after=60,
        token="hunter2",
        log="the token is hunter2",
        message="<b>hunter2</b> & co",
    )
    job = airbyte.sync(clicked.connection)["jobId"]
    text = clicked.open(job).text

    assert f"<h1>Job {job}: failed</h1>" in text
    assert "<th>Failure</th><td>&lt;b&gt;**********&lt;/b&gt; &amp; co</td>" in text
    for secret in ("hunter2", database.password, airbyte.server.client_secret):
        assert secret not in text


def test_page_of_a_running_job_reloads_itself(airbyte: Airbyte, database: Any) -> None:
    clicked = Clicked(airbyte, database.dsn, rows=1000, page=10, pause=0.2)
    job = airbyte.start(clicked.connection)
    text = until(lambda: clicked.open(job).text)
    airbyte.ask("DELETE", f"jobs/{job}")

    assert f"Job {job}: running" in text
    assert '<meta http-equiv="refresh"' in text
    assert f"Job {job}: cancelled" in clicked.open(job).text


@pytest.mark.parametrize("kind", ["workspaces", "connections"])
def test_job_is_not_found_under_another_workspace_or_connection(
    airbyte: Airbyte, database: Any, kind: str
) -> None:
    clicked = Clicked(airbyte, database.dsn, rows=1)
    job = airbyte.sync(clicked.connection)["jobId"]

    assert 404 == clicked.open(job, **{kind: str(uuid.uuid4())}).status_code
    assert 404 == clicked.open(999_999).status_code
    assert 422 == clicked.open("seven").status_code
