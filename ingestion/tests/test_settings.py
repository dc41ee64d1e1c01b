"""Where Airbyte is, read from the environment."""

from __future__ import annotations

import pytest
from ingestion.errors import SettingsError
from ingestion.settings import AirbyteSettings


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
