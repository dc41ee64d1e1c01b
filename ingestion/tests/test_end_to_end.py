"""The real connector fills both assets: GitHub stand-in, embedded Airbyte, Postgres."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psycopg
import pytest
from devstack_fixtures import Database
from ingestion.airbyte.record import connector_spec, stream_schema
from ingestion.definitions import defs

STARS = """repository,user_id,login,starred_at
acme/rocket,7,grace,2024-03-02T10:00:00Z
acme/rocket,5,ada,2024-03-01T10:00:00Z
acme/rocket,9,alan,2024-03-02T10:00:00Z
"""


@pytest.fixture
def stack(tmp_path: Path, database, github_server, airbyte_server, monkeypatch, request):
    """A whole stack with three stars, and the environment that names it."""
    stars = tmp_path / "stars.csv"
    stars.write_text(STARS)
    github = github_server(stars=stars)
    airbyte = airbyte_server(database_url=database.dsn, **getattr(request, "param", {}))
    settings = {
        **database.environ("WAREHOUSE"),
        "AIRBYTE_URL": airbyte.url,
        "AIRBYTE_CLIENT_ID": airbyte.client_id,
        "AIRBYTE_CLIENT_SECRET": airbyte.client_secret,
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": github.token,
        "GITHUB_REPOSITORY": "acme/rocket",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AIRBYTE_WORKSPACE_ID", raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env
    return database


def materialize(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = defs.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(["postgres", "stargazers"]), dg.AssetKey(["postgres", "stargazers_user"])]
    return job.execute_in_process(instance=instance, asset_selection=keys)


# The server has only the public API, like Airbyte's own servers since 1.7.
@pytest.mark.parametrize("stack", [{"no_internal_api": True}], indirect=True)
def test_the_real_connector_fills_both_assets(stack, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        before = datetime.now(UTC)
        result = materialize(instance)
        after = datetime.now(UTC)
        events = result.get_asset_materialization_events()
        metadata = events[0].materialization.metadata
        users = latest(instance, "stargazers_user")

        assert ["stargazers", "stargazers_user"] == [one.asset_key.path[-1] for one in events]
        assert 3 == metadata["dagster/row_count"].value
        assert 3 == metadata["airbyte/rows_synced"].value
        assert metadata["airbyte/bytes_synced"].value > 0
        job_id = metadata["airbyte/job_id"].value
        assert metadata["airbyte/job"].value.endswith(f"jobId={job_id}")
        page = httpx.get(metadata["airbyte/job"].value)  # as a browser does, without a token
        assert (200, True) == (page.status_code, f"Job {job_id}: succeeded" in page.text)
        data_time = metadata["freshline/data_time"].value
        assert before.timestamp() <= data_time < after.timestamp()
        # The view's data time is that of exactly this version of the table.
        pointer = users.asset_materialization.tags[
            "dagster/input_event_pointer/postgres/stargazers"
        ]
        assert str(latest(instance, "stargazers").storage_id) == pointer
        assert [
            ("acme/rocket", 5, "ada"),
            ("acme/rocket", 7, "grace"),
            ("acme/rocket", 9, "alan"),
        ] == (
            query(
                stack, "select repository, user_id, login from postgres.stargazers_user order by 2"
            )
        )

        # After a new star, a second sync adds one row.
        with (tmp_path / "stars.csv").open("a") as stars:
            stars.write("acme/rocket,3,edsger,2024-03-02T10:00:00Z\n")
        assert materialize(instance).success

        # Without one, a third brings no row: the data are those of the second.
        assert materialize(instance).success
        for table in ("stargazers", "stargazers_user"):
            newest = [data_version(record) for record in versions(instance, table)]
            assert newest[0] == newest[1] != newest[2]

    first, second = (datetime(2024, 3, day, 10, tzinfo=UTC) for day in (1, 2))
    assert [(3, second), (5, first), (7, second), (9, second)] == query(
        stack, "select user_id, starred_at from postgres.stargazers order by 1"
    )


def test_a_sync_warns_about_an_empty_table(stack, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/absent")

    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(instance)
        warnings = [
            entry.user_message
            for entry in instance.all_logs(result.run_id)
            if entry.level == logging.WARNING
        ]

    assert result.success
    (warning,) = warnings
    assert warning.startswith("The sync succeeded, but postgres.stargazers is empty.")


def latest(instance: dg.DagsterInstance, table: str) -> dg.EventLogRecord:
    return versions(instance, table)[0]


def versions(instance: dg.DagsterInstance, table: str) -> Sequence[dg.EventLogRecord]:
    """Return the versions of an asset, the newest first."""
    return instance.fetch_materializations(dg.AssetKey(["postgres", table]), limit=9).records


def data_version(record: dg.EventLogRecord) -> str:
    return str(record.asset_materialization.tags["dagster/data_version"])


def query(database: Database, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.dsn) as connection:
        return connection.execute(sql).fetchall()


def test_recorded_schemas_are_those_of_the_installed_connector():
    """After an update of the connector: `ingestion record source-github`."""
    connector = Path(__file__).parents[2] / "devstack/connectors/source-github"
    spec = json.loads((connector / "spec.json").read_text())["connectionSpecification"]
    catalog = json.loads((connector / "catalog.json").read_text())
    schemas = {one["name"]: one["json_schema"] for one in catalog["streams"]}

    assert spec == connector_spec("source-github")
    assert schemas["stargazers"] == stream_schema("source-github", "stargazers")
