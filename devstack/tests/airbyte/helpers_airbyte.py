"""Helpers of the embedded Airbyte's tests: a client, the fake connector, stars for the real one."""

from __future__ import annotations

import csv
import datetime as dt
import json
import random
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
from helpers import until

REPOSITORY = "acme/rocket"
FAKE_ID = "11111111-2222-3333-4444-555555555555"
FAKE_SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["rows"],
    "properties": {
        "rows": {"type": "integer", "minimum": 0},
        "ending": {"type": "string", "enum": ["trace", "exit", "damaged", "incomplete", "killed"]},
        "token": {"type": "string", "airbyte_secret": True},
        "auth": {
            "type": "object",
            "oneOf": [
                {
                    "properties": {
                        "kind": {"const": "key"},
                        "key": {"type": "string", "minLength": 4, "airbyte_secret": True},
                    },
                    "required": ["kind", "key"],
                },
                {
                    "properties": {
                        "kind": {"const": "login"},
                        "user": {"type": "string"},
                        "password": {"type": "string", "airbyte_secret": True},
                    },
                    "required": ["kind", "user", "password"],
                },
            ],
        },
    },
}
EVENTS: dict[str, Any] = {
    "name": "events",
    "json_schema": {
        "properties": {
            "id": {"type": "integer"},
            "updated_at": {"type": "string", "format": "date-time"},
            "name": {"type": ["null", "string"]},
            "payload": {"type": "object"},
        }
    },
    "supported_sync_modes": ["full_refresh", "incremental"],
    "source_defined_cursor": True,
    "default_cursor_field": ["updated_at"],
    "source_defined_primary_key": [["id"]],
}
LOG: dict[str, Any] = {
    "name": "log",
    "json_schema": {"properties": {"line": {"type": "string"}}},
    "supported_sync_modes": ["full_refresh", "incremental"],
    "source_defined_cursor": True,
    "default_cursor_field": [],
}
ODD: dict[str, Any] = {
    "name": "odd",
    "json_schema": {
        "properties": {
            "id": {"type": "integer"},
            "Select": {"type": "string"},
            'quo"te': {"type": "number"},
            "at": {"type": "string", "format": "date-time"},
            "user": {"type": "object"},
            "_airbyte_meta": {"type": "boolean"},
            "x" * 70: {"type": "string"},
        }
    },
    "supported_sync_modes": ["full_refresh"],
}


def register_fake(folder: Path, streams: list[dict[str, Any]] | None = None) -> Path:
    """Write a registry file with the fake connector; the server takes it as `--connectors`."""
    (folder / "spec.json").write_text(json.dumps({"connectionSpecification": FAKE_SPEC}))
    (folder / "catalog.json").write_text(
        json.dumps({"streams": streams if streams is not None else [EVENTS, LOG, ODD]})
    )
    registry = folder / "connectors.json"
    registry.write_text(
        json.dumps(
            [
                {
                    "kind": "source",
                    "type": "fake",
                    "name": "Fake",
                    "definitionId": FAKE_ID,
                    "dockerRepository": "test/source-fake",
                    "dockerImageTag": "1.0.0",
                    "command": [sys.executable, str(Path(__file__).with_name("fake_connector.py"))],
                    "spec": "spec.json",
                    "catalog": "catalog.json",
                }
            ]
        )
    )
    return registry


def write_stars(file: Path, count: int, seed: int = 7) -> list[tuple[int, str]]:
    """Write stars, unsorted, some in the same second; return user id and time of each, by id."""
    rng = random.Random(seed)
    start = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    stars = [
        (number, f"{start + dt.timedelta(seconds=rng.randrange(count // 3)):%Y-%m-%dT%H:%M:%SZ}")
        for number in range(1, count + 1)
    ]
    shuffled = rng.sample(stars, count)
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["repository", "user_id", "login", "starred_at"])
        rows.writerows(
            [REPOSITORY, number, f"user{number}", starred_at] for number, starred_at in shuffled
        )
    return stars


def source_of(github: Any, **more: Any) -> dict[str, Any]:
    """Return the configuration of a source that reads a GitHub stand-in."""
    return {
        "sourceType": "github",
        "credentials": {"option_title": "PAT Credentials", "personal_access_token": github.token},
        "repositories": [github.repository],
        "api_url": github.url,
        **more,
    }


def landed_stars(db: psycopg.Connection[Any]) -> list[tuple[int, str]]:
    """Return user id and time of each star in the warehouse, by user id."""
    rows = db.execute(
        """
        select user_id, to_char(starred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        from postgres.stargazers order by user_id
        """
    )
    return rows.fetchall()


class Airbyte(httpx.Client):
    """The public API of a running server, with a token that renews itself."""

    def __init__(self, server: Any) -> None:
        super().__init__(base_url=f"{server.url}/api/public/v1/", timeout=60)
        self.server = server
        self.workspace = server.workspace_id
        self.auth = self._with_token
        self._token = ""

    def _with_token(self, request: httpx.Request) -> httpx.Request:
        if not self._token:
            answer = httpx.post(
                f"{self.base_url}applications/token",
                json={
                    "client_id": self.server.client_id,
                    "client_secret": self.server.client_secret,
                },
            )
            self._token = answer.raise_for_status().json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Send a request that must succeed; return the JSON of the answer."""
        answer = self.request(method, path, **options)
        assert answer.is_success, (answer.status_code, answer.text)
        return answer.json()

    def internal(self, path: str, **body: Any) -> Any:
        return self.ask("POST", f"{self.server.url}/api/v1/{path}", json=body)

    def new_source(self, **configuration: Any) -> str:
        body = {
            "name": "the source",
            "workspaceId": self.workspace,
            "configuration": {"sourceType": "fake", **configuration},
        }
        source: str = self.ask("POST", "sources", json=body)["sourceId"]
        return source

    def new_destination(self, dsn: str) -> str:
        parts = urlsplit(dsn)
        body = {
            "name": "the warehouse",
            "workspaceId": self.workspace,
            "configuration": {
                "destinationType": "postgres",
                "host": parts.hostname,
                "port": parts.port,
                "username": parts.username,
                "password": psycopg.conninfo.conninfo_to_dict(dsn)["password"],
                "database": parts.path.lstrip("/"),
                "schema": "public",
            },
        }
        destination: str = self.ask("POST", "destinations", json=body)["destinationId"]
        return destination

    def new_connection(self, source: str, destination: str, *streams: Any, **more: Any) -> str:
        body = {
            "name": "the connection",
            "sourceId": source,
            "destinationId": destination,
            "configurations": {"streams": list(streams)},
            **more,
        }
        connection: str = self.ask("POST", "connections", json=body)["connectionId"]
        return connection

    def start(self, connection: str) -> int:
        body = {"connectionId": connection, "jobType": "sync"}
        job: int = self.ask("POST", "jobs", json=body)["jobId"]
        return job

    def ended(self, job: int) -> dict[str, Any]:
        """Wait for the job to end, and return it."""

        def job_that_ended() -> dict[str, Any]:
            found: dict[str, Any] = self.ask("GET", f"jobs/{job}")
            return {} if found["status"] == "running" else found

        return until(job_that_ended)

    def sync(self, connection: str) -> dict[str, Any]:
        """Run one sync to its end, and return its job."""
        return self.ended(self.start(connection))

    def failure(self, job: int) -> dict[str, Any]:
        """Return why a job failed, from the internal API."""
        answer = self.internal("jobs/get", id=job)
        (reason,) = answer["attempts"][0]["attempt"]["failureSummary"]["failures"]
        return dict(reason)
