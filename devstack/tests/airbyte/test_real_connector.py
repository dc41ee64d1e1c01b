"""The real connector `airbyte-source-github` against the GitHub stand-in, into Postgres."""

from __future__ import annotations

import csv
import datetime as dt
import json
import random
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from devstack.airbyte.protocol import Reading
from devstack.airbyte.registry import load_registry
from devstack.airbyte.worker import connector_environment
from helpers_airbyte import Airbyte

STREAM = {"name": "stargazers", "syncMode": "incremental_deduped_history"}
REPOSITORY = "acme/rocket"


def write_stars(file: Path, count: int, seed: int = 7) -> list[tuple[int, str]]:
    """A file of stars, unsorted, many to a second; user id and moment of each, by user id."""
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
        rows.writerows([REPOSITORY, number, f"user{number}", moment] for number, moment in shuffled)
    return stars


def source_of(github: Any, **more: Any) -> dict[str, Any]:
    return {
        "sourceType": "github",
        "credentials": {"option_title": "PAT Credentials", "personal_access_token": github.token},
        "repositories": [github.repository],
        "api_url": github.url,
        **more,
    }


def landed(db: psycopg.Connection[Any]) -> list[tuple[int, str]]:
    rows = db.execute(
        """
        select user_id, to_char(starred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        from postgres.stargazers order by user_id
        """
    )
    return rows.fetchall()


class TestDescription:
    def test_says_what_the_tables_need(self) -> None:
        """The catalog kept on disk, with the key, cursor and columns that everything builds on."""
        connector = load_registry().find("source", type="github")
        stream = connector.streams["stargazers"]

        assert [["user_id"]] == stream["source_defined_primary_key"]
        assert ["starred_at"] == stream["default_cursor_field"]
        assert ["repository", "user_id", "starred_at", "user"] == list(
            stream["json_schema"]["properties"]
        )
        assert ["credentials", "repositories"] == connector.specification["required"]

    def test_is_of_the_installed_version(self) -> None:
        """`connectors.json` names the version that the lock file installs."""
        connector = load_registry().find("source", type="github")
        wanted = (connector.folder / "source-github/requirements.in").read_text()

        assert f"airbyte-source-github=={connector.dockerImageTag}" in wanted.split()

    def test_is_what_the_connector_says(self) -> None:
        """The specification kept on disk is not stale: `describe` would write the same."""
        connector = load_registry().find("source", type="github")
        done = subprocess.run(
            [*connector.command_line(), "spec"], stdout=subprocess.PIPE, text=True, check=True
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        (spec,) = [message["spec"] for message in said if message["type"] == "SPEC"]

        assert connector.specification == spec["connectionSpecification"]


class TestQuiet:
    WATCH = """
import os, socket

def watched(original, place):
    def call(*arguments, **options):
        with open(os.environ["CONNECTIONS"], "a") as log:
            print(place(*arguments), file=log)
        return original(*arguments, **options)
    return call

socket.socket.connect = watched(socket.socket.connect, lambda _, address: address[:2])
socket.getaddrinfo = watched(socket.getaddrinfo, lambda host, port, *_: (host, port))
"""

    def test_talks_to_github_alone(self, github_server: Any, tmp_path: Path) -> None:
        """No telemetry, no other host: every address looked up or connected to is written down."""
        write_stars(tmp_path / "stars.csv", 250)
        github = github_server(stars=tmp_path / "stars.csv")
        (tmp_path / "sitecustomize.py").write_text(self.WATCH)
        connector = load_registry().find("source", type="github")
        stream = connector.streams["stargazers"]
        reading = Reading(
            command=connector.command_line(),
            configuration=source_of(github),
            catalog={
                "streams": [
                    {
                        "stream": stream,
                        "sync_mode": "full_refresh",
                        "destination_sync_mode": "append",
                    }
                ]
            },
            state=[],
            environment={
                **connector_environment(),
                "PYTHONPATH": str(tmp_path),
                "CONNECTIONS": str(tmp_path / "connections"),
            },
        )
        kinds = [kind for kind, _, _ in reading.messages()]
        called = set((tmp_path / "connections").read_text().splitlines())

        assert 250 == kinds.count("RECORD")
        assert {str(("127.0.0.1", urlsplit(github.url).port))} == called


class TestSync:
    def test_lands_every_star_and_then_the_new_ones(
        self,
        airbyte: Airbyte,
        github_server: Any,
        database: Any,
        warehouse: psycopg.Connection[Any],
        tmp_path: Path,
    ) -> None:
        """The table that the other teams build on, column by column; nothing read twice."""
        stars = write_stars(tmp_path / "stars.csv", 1050)
        github = github_server(stars=tmp_path / "stars.csv")
        source = airbyte.new_source(**source_of(github))
        connection = airbyte.new_connection(
            source,
            airbyte.new_destination(database.dsn),
            STREAM,
            namespaceDefinition="custom_format",
            namespaceFormat="postgres",
        )
        first = airbyte.sync(connection)
        columns = warehouse.execute(
            "select column_name, data_type from information_schema.columns"
            " where table_schema = 'postgres' order by ordinal_position"
        ).fetchall()
        second = airbyte.sync(connection)

        assert ("succeeded", 1050) == (first["status"], first["rowsSynced"])
        assert [
            ("_airbyte_raw_id", "text"),
            ("_airbyte_extracted_at", "timestamp with time zone"),
            ("_airbyte_meta", "jsonb"),
            ("_airbyte_generation_id", "bigint"),
            ("repository", "text"),
            ("user_id", "bigint"),
            ("starred_at", "timestamp with time zone"),
            ("user", "jsonb"),
        ] == columns
        assert stars == landed(warehouse)
        assert [(REPOSITORY, "user7")] == warehouse.execute(
            "select repository, \"user\"->>'login' from postgres.stargazers where user_id = 7"
        ).fetchall()
        newest = max(moment for _, moment in stars)
        boundary = sum(moment >= newest for _, moment in stars)
        assert "succeeded" == second["status"]
        # The boundary second and, from the connector's look-back, the one before it.
        assert boundary <= second["rowsSynced"] < 20

    def test_bad_token_fails_with_the_connectors_words(
        self, airbyte: Airbyte, github_server: Any, database: Any, tmp_path: Path
    ) -> None:
        write_stars(tmp_path / "stars.csv", 10)
        github = github_server(stars=tmp_path / "stars.csv")
        wrong = {"personal_access_token": "wrong-token"}
        source = airbyte.new_source(**source_of(github, credentials=wrong))
        destination = airbyte.new_destination(database.dsn)
        job = airbyte.sync(airbyte.new_connection(source, destination, STREAM))
        reason = airbyte.failure(job["jobId"])

        assert "failed" == job["status"]
        assert "config_error" == reason["failureType"]
        assert "wrong-token" not in str(reason)
