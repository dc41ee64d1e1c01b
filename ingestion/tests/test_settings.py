"""Where Airbyte is, read from the environment."""

from __future__ import annotations

import pytest
from ingestion.errors import SettingsError
from ingestion.settings import AirbyteSettings, environment, warehouse_conninfo


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _shared_account(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # away from any .env
        settings = {"HOST": "db", "PORT": "1", "DATABASE": "w", "USER": "all", "PASSWORD": "a"}
        for name, value in settings.items():
            monkeypatch.setenv(f"WAREHOUSE_{name}", value)

    def test_the_teams_own_role_takes_the_place_of_the_shared_one(self, monkeypatch):
        monkeypatch.setenv("WAREHOUSE_USER_ingestion", "ingestion")
        monkeypatch.setenv("WAREHOUSE_PASSWORD_ingestion", "own")

        conninfo = warehouse_conninfo(environment())

        assert ("ingestion", "own") == (conninfo["user"], conninfo["password"])

    def test_without_one_the_shared_role_is_used_with_its_password(self, monkeypatch):
        monkeypatch.setenv("WAREHOUSE_USER_ingestion", "")
        monkeypatch.setenv("WAREHOUSE_PASSWORD_ingestion", "of a stack that is gone")

        conninfo = warehouse_conninfo(environment())

        assert ("all", "a") == (conninfo["user"], conninfo["password"])

    def test_a_role_without_a_password_is_refused(self, monkeypatch):
        monkeypatch.setenv("WAREHOUSE_USER_ingestion", "ingestion")

        with pytest.raises(SettingsError, match="WAREHOUSE_PASSWORD_ingestion is not set"):
            environment()


class TestSettings:
    @pytest.mark.parametrize(
        ("url", "public", "internal", "development"),
        [
            (
                "http://127.0.0.1:18000",
                "http://127.0.0.1:18000/api/public/v1",
                "http://127.0.0.1:18000/api/v1",
                True,
            ),
            (
                "http://localhost:8000/",
                "http://localhost:8000/api/public/v1",
                "http://localhost:8000/api/v1",
                True,
            ),
            (
                "https://airbyte.example.com",
                "https://airbyte.example.com/api/public/v1",
                "https://airbyte.example.com/api/v1",
                False,
            ),
            (
                "https://api.airbyte.com",
                "https://api.airbyte.com/v1",
                "https://cloud.airbyte.com/api/v1",
                False,
            ),
            (
                "https://api.airbyte.com/v1",
                "https://api.airbyte.com/v1",
                "https://cloud.airbyte.com/api/v1",
                False,
            ),
        ],
    )
    def test_addresses_follow_from_the_kind_of_airbyte(self, url, public, internal, development):
        settings = AirbyteSettings.from_environment({"AIRBYTE_URL": url})

        assert (public, internal, development) == (
            settings.public_url,
            settings.internal_url,
            settings.development,
        )

    @pytest.mark.parametrize(
        ("env", "message"),
        [
            ({}, "AIRBYTE_URL is not set"),
            ({"AIRBYTE_USERNAME": "a"}, "AIRBYTE_USERNAME and AIRBYTE_PASSWORD"),
            ({"AIRBYTE_CLIENT_ID": "a"}, "AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"),
            (
                {
                    "AIRBYTE_CLIENT_ID": "a",
                    "AIRBYTE_CLIENT_SECRET": "b",
                    "AIRBYTE_USERNAME": "c",
                    "AIRBYTE_PASSWORD": "d",
                },
                "not both",
            ),
        ],
    )
    def test_errors_name_the_variable(self, env, message):
        url = {"AIRBYTE_URL": "http://127.0.0.1:1"} if env else {}

        with pytest.raises(SettingsError, match=message):
            AirbyteSettings.from_environment({**url, **env})

    def test_repr_shows_no_secret(self):
        settings = AirbyteSettings(url="http://x", client_secret="hidden-1", password="hidden-2")

        assert "hidden" not in repr(settings)
