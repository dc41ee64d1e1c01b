"""How a run syncs a connection: in development, elsewhere, and when something fails."""

from __future__ import annotations

import logging

import dagster as dg
import pytest
from ingestion.connections import fetch_stargazer
from ingestion.resources import Airbyte, Warehouse
from ingestion.settings import AirbyteSettings

LOG = logging.getLogger("test")


@pytest.fixture
def airbyte(fake, env, database, monkeypatch, tmp_path) -> Airbyte:
    """The resource, in an environment that names the fake Airbyte and a real warehouse."""
    settings = {
        **env,
        **database.environ("WAREHOUSE"),
        "AIRBYTE_URL": fake.url,
        "AIRBYTE_CLIENT_ID": fake.client_id,
        "AIRBYTE_CLIENT_SECRET": fake.client_secret,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AIRBYTE_WORKSPACE_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Airbyte()


@pytest.fixture
def elsewhere(monkeypatch) -> None:
    """The Airbyte is not on this machine."""
    monkeypatch.setattr(AirbyteSettings, "development", property(lambda _: False))


class TestInDevelopment:
    def test_a_sync_creates_the_connection(self, airbyte, fake):
        metadata = airbyte.sync(fetch_stargazer, LOG)

        assert "fetch_stargazer" == fake.only("connection")["name"]
        assert fake.only("connection")["connectionId"] == metadata["airbyte/connection_id"]

    def test_a_sync_applies_a_changed_declaration(self, airbyte, fake, monkeypatch):
        airbyte.sync(fetch_stargazer, LOG)
        monkeypatch.setenv("GITHUB_REPOSITORY", "acme/moonshot")
        airbyte.sync(fetch_stargazer, LOG)

        assert ["acme/moonshot"] == fake.only("source")["configuration"]["repositories"]


@pytest.mark.usefixtures("elsewhere")
class TestElsewhere:
    def test_a_sync_fails_when_the_connection_is_missing(self, airbyte, fake):
        with pytest.raises(
            dg.Failure, match="no connection 'fetch_stargazer': run `ingestion check`"
        ):
            airbyte.sync(fetch_stargazer, LOG)
        assert {"source": {}, "destination": {}, "connection": {}} == fake.objects

    def test_a_sync_changes_nothing(self, airbyte, fake):
        source = {"sourceType": "github", "configuration": {"repositories": ["by/hand"]}}
        ids = {
            f"{kind}Id": fake.add(kind, name="x", **source)[f"{kind}Id"]
            for kind in ("source", "destination")
        }
        fake.add("connection", name="fetch_stargazer", prefix="by_hand_", **ids)
        airbyte.sync(fetch_stargazer, LOG)

        writes = {one for one in fake.requests if not one.startswith("GET")}
        assert {"POST /applications/token", "POST /jobs"} == writes


class TestFailures:
    def test_a_failed_job_shows_airbytes_reason_without_secrets(self, airbyte, fake):
        fake.outcome = "failed"
        fake.failure_message = "Bad credentials:\n github-secret-1"

        with pytest.raises(dg.Failure, match=r"job 1 failed: Bad credentials: \*{8} \(http"):
            airbyte.sync(fetch_stargazer, LOG)

    def test_refused_credentials_name_their_variables(self, airbyte, monkeypatch):
        monkeypatch.setenv("AIRBYTE_CLIENT_SECRET", "wrong")

        with pytest.raises(dg.Failure, match="check AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"):
            airbyte.sync(fetch_stargazer, LOG)

    def test_a_missing_airbyte_setting_is_named(self, airbyte, monkeypatch):
        monkeypatch.delenv("AIRBYTE_URL")

        with pytest.raises(dg.Failure, match="AIRBYTE_URL is not set"):
            airbyte.sync(fetch_stargazer, LOG)

    @pytest.mark.usefixtures("airbyte")
    def test_a_missing_warehouse_setting_is_named(self, monkeypatch):
        monkeypatch.delenv("WAREHOUSE_HOST")

        with pytest.raises(dg.Failure, match="WAREHOUSE_HOST is not set"):
            Warehouse().content("postgres", "stargazers")
