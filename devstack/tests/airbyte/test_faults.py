"""Faults on demand: each kind happens as often as it was armed, and then no more."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from helpers_airbyte import Airbyte

DEDUP = {"name": "events", "syncMode": "incremental_deduped_history"}


def arm(airbyte: Airbyte, **fault: Any) -> None:
    httpx.post(f"{airbyte.server.url}/faults", json=fault).raise_for_status()


def statuses(airbyte: Airbyte, path: str, count: int) -> list[int]:
    return [airbyte.get(path).status_code for _ in range(count)]


class TestRequests:
    def test_error_happens_as_often_as_armed_and_only_on_its_path(self, airbyte: Airbyte) -> None:
        arm(airbyte, kind="error", status=503, times=2, path="/sources$", method="get")
        elsewhere = statuses(airbyte, "connections", 1)

        assert [503, 503, 200] == statuses(airbyte, "sources", 3)
        assert [200] == elsewhere

    def test_html_answers_with_the_page_of_a_proxy(self, airbyte: Airbyte) -> None:
        arm(airbyte, kind="html", path="sources")
        answer = airbyte.get("sources")

        assert 502 == answer.status_code
        assert answer.headers["content-type"].startswith("text/html")

    def test_rate_limit_answers_429_with_retry_after(self, airbyte: Airbyte) -> None:
        arm(airbyte, kind="rate_limit", seconds=7, path="sources")
        answer = airbyte.get("sources")

        assert (429, "7") == (answer.status_code, answer.headers["Retry-After"])
        assert "too-many-requests" == answer.json()["title"]

    def test_drop_prevents_the_request(self, airbyte: Airbyte) -> None:
        count = len(airbyte.ask("GET", "sources?limit=100")["data"])
        arm(airbyte, kind="drop", method="post")
        with pytest.raises(httpx.TransportError):
            airbyte.new_source(rows=1)

        assert count == len(airbyte.ask("GET", "sources?limit=100")["data"])

    def test_drop_with_after_carries_out_the_request(self, airbyte: Airbyte) -> None:
        """Because of this case a client must not simply repeat a POST."""
        count = len(airbyte.ask("GET", "sources?limit=100")["data"])
        arm(airbyte, kind="drop", method="post", after=True)
        with pytest.raises(httpx.TransportError):
            airbyte.new_source(rows=1)

        assert count + 1 == len(airbyte.ask("GET", "sources?limit=100")["data"])

    def test_slow_delays_the_answer(self, airbyte: Airbyte) -> None:
        airbyte.ask("GET", "sources")
        arm(airbyte, kind="slow", seconds=0.3)
        began = time.monotonic()
        answer = airbyte.get("sources")

        assert 200 == answer.status_code
        assert time.monotonic() - began >= 0.3

    def test_expired_refuses_tokens_issued_before(self, airbyte: Airbyte) -> None:
        airbyte.ask("GET", "sources")
        arm(airbyte, kind="expired")
        refused = airbyte.get("sources").status_code
        airbyte._token = ""

        assert (401, 200) == (refused, airbyte.get("sources").status_code)

    def test_armed_faults_are_listed_and_disarmed(self, airbyte: Airbyte) -> None:
        arm(airbyte, kind="error", times=3, path="jobs")
        url = f"{airbyte.server.url}/faults"
        armed = httpx.get(url).json()["data"]
        httpx.delete(url)

        assert [("error", 3, "jobs")] == [(one["kind"], one["times"], one["path"]) for one in armed]
        assert [200] == statuses(airbyte, "jobs", 1)

    @pytest.mark.parametrize(
        "fault", [{"kind": "nosuch"}, {"kind": "slow", "times": 0}, {"kind": "error", "path": "("}]
    )
    def test_invalid_fault_is_refused(self, airbyte: Airbyte, fault: dict[str, Any]) -> None:
        assert 422 == httpx.post(f"{airbyte.server.url}/faults", json=fault).status_code


class TestJobs:
    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("job_failed", "The source failed halfway, as it was told to."),
            ("worker_killed", "The worker was killed by signal 9."),
        ],
    )
    def test_next_sync_fails_and_the_sync_after_it_completes(
        self, airbyte: Airbyte, database: Any, warehouse: Any, kind: str, message: str
    ) -> None:
        source = airbyte.new_source(rows=100, page=30)
        destination = airbyte.new_destination(database.dsn)
        connection = airbyte.new_connection(source, destination, DEDUP)
        arm(airbyte, kind=kind, after_records=50)
        first = airbyte.sync(connection)
        second = airbyte.sync(connection)

        assert ("failed", 30) == (first["status"], first["rowsSynced"])
        assert message == airbyte.failure(first["jobId"])["externalMessage"]
        assert "succeeded" == second["status"]
        assert [(100,)] == warehouse.execute("select count(*) from events").fetchall()
