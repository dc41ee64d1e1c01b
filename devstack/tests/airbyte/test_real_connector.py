"""The real connector `airbyte-source-github` against the GitHub stand-in, into Postgres."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from devstack.airbyte.protocol import Reading
from devstack.airbyte.registry import load_registry
from devstack.airbyte.worker import connector_environment
from helpers_airbyte import REPOSITORY, Airbyte, landed_stars, source_of, write_stars

STREAM = {"name": "stargazers", "syncMode": "incremental_deduped_history"}


class TestDescription:
    def test_catalog_has_key_cursor_and_columns_of_the_stream(self) -> None:
        """The catalog on disk, on which everything else builds."""
        connector = load_registry().find("source", type="github")
        stream = connector.streams["stargazers"]

        assert [["user_id"]] == stream["source_defined_primary_key"]
        assert ["starred_at"] == stream["default_cursor_field"]
        assert ["repository", "user_id", "starred_at", "user"] == list(
            stream["json_schema"]["properties"]
        )
        assert ["credentials", "repositories"] == connector.specification["required"]

    def test_files_are_of_the_version_that_is_installed(self) -> None:
        """`connectors.json` names the version that the lock file installs."""
        connector = load_registry().find("source", type="github")
        wanted = (connector.folder / "source-github/requirements.in").read_text()

        assert f"airbyte-source-github=={connector.dockerImageTag}" in wanted.split()

    def test_specification_is_the_one_that_the_connector_prints(self) -> None:
        """The specification on disk is the one that `describe` would write."""
        connector = load_registry().find("source", type="github")
        done = subprocess.run(
            [*connector.command_line(), "spec"], stdout=subprocess.PIPE, text=True, check=True
        )
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        (spec,) = [message["spec"] for message in messages if message["type"] == "SPEC"]

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

    def test_connector_connects_to_github_alone(self, github_server: Any, tmp_path: Path) -> None:
        """It sends no telemetry: each address that it looks up or connects to is recorded."""
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
        addresses = set((tmp_path / "connections").read_text().splitlines())

        assert 250 == kinds.count("RECORD")
        assert {str(("127.0.0.1", urlsplit(github.url).port))} == addresses


class TestSync:
    def test_first_sync_lands_every_star_and_the_second_only_new_ones(
        self,
        airbyte: Airbyte,
        github_server: Any,
        database: Any,
        warehouse: psycopg.Connection[Any],
        tmp_path: Path,
    ) -> None:
        """The table has the columns that the other teams build on."""
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
        assert stars == landed_stars(warehouse)
        assert [(REPOSITORY, "user7")] == warehouse.execute(
            "select repository, \"user\"->>'login' from postgres.stargazers where user_id = 7"
        ).fetchall()
        newest = max(starred_at for _, starred_at in stars)
        boundary = sum(starred_at >= newest for _, starred_at in stars)
        assert "succeeded" == second["status"]
        # The boundary second and, from the connector's look-back, the one before it.
        assert boundary <= second["rowsSynced"] < 20

    def test_bad_token_fails_the_job_with_the_connectors_message(
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
