"""The real connector, once: GitHub stand-in, embedded Airbyte, Postgres, both assets."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from ingestion.declaration import connector_spec, stream_schema
from ingestion.definitions import defs

STARS = """repository,user_id,login,starred_at
acme/rocket,7,grace,2024-03-02T10:00:00Z
acme/rocket,5,ada,2024-03-01T10:00:00Z
acme/rocket,9,alan,2024-03-02T10:00:00Z
"""


@pytest.fixture
def stack(tmp_path: Path, database, github_server, airbyte_server, monkeypatch, request):
    """The environment of a whole stack with three stars."""
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


# A server with the public API alone, as Airbyte's own have been since 1.7.
@pytest.mark.parametrize("stack", [{"no_internal_api": True}], indirect=True)
def test_the_real_connector_fills_both_assets(stack):
    before = datetime.now(timezone.utc)
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(instance)
        after = datetime.now(timezone.utc)
        again = materialize(instance)

    assert result.success
    events = {e.asset_key.to_user_string(): e for e in result.get_asset_materialization_events()}
    assert ["postgres/stargazers", "postgres/stargazers_user"] == list(events)
    landed = events["postgres/stargazers"].materialization.metadata
    assert 3 == landed["dagster/row_count"].value
    assert 3 == landed["airbyte/rows_synced"].value
    assert landed["airbyte/bytes_synced"].value > 0
    assert landed["airbyte/job"].value.endswith(f"jobId={landed['airbyte/job_id'].value}")
    data_time = landed["freshline/data_time"].value
    assert before.timestamp() <= data_time < after.timestamp()
    assert again.success
    with psycopg.connect(stack.dsn) as connection:
        users = connection.execute(
            "select repository, user_id, login from postgres.stargazers_user order by user_id"
        ).fetchall()
        stars = connection.execute(
            "select user_id, starred_at from postgres.stargazers order by user_id"
        ).fetchall()
    first, second = (datetime(2024, 3, day, 10, tzinfo=timezone.utc) for day in (1, 2))
    assert [("acme/rocket", 5, "ada"), ("acme/rocket", 7, "grace"), ("acme/rocket", 9, "alan")] == (
        users
    )
    assert [(5, first), (7, second), (9, second)] == stars


def test_the_recorded_connector_is_the_one_in_use():
    """After an update of the connector: `ingestion record source-github`."""
    connector = Path(__file__).parents[2] / "devstack/connectors/source-github"
    spec = json.loads((connector / "spec.json").read_text())["connectionSpecification"]
    catalog = json.loads((connector / "catalog.json").read_text())
    schemas = {one["name"]: one["json_schema"] for one in catalog["streams"]}

    assert spec == connector_spec("source-github")
    assert schemas["stargazers"] == stream_schema("source-github", "stargazers")
