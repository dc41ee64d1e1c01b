"""What can be declared, and which settings it needs."""

from __future__ import annotations

import pytest
from ingestion.airbyte.configuration import resolve
from ingestion.airbyte.declaration import (
    Connection,
    Env,
    Secret,
    Source,
    Stream,
    check_connections,
)
from ingestion.airbyte.record import stream_schema
from ingestion.connections import fetch_stargazer
from ingestion.errors import DeclarationError, SettingsError
from ingestion.settings import AirbyteSettings
from pydantic import ValidationError


def connection(**changes: object) -> Connection:
    fields = {name: getattr(fetch_stargazer, name) for name in Connection.model_fields}
    return Connection(**{**fields, **changes})


class TestStream:
    def test_dedup_needs_a_primary_key(self):
        with pytest.raises(ValidationError, match=r"append \+ dedup needs a primary_key"):
            Stream(name="s", sync_mode="incremental_deduped_history")

    def test_fields_must_include_cursor_and_key(self):
        with pytest.raises(ValidationError, match="fields must include id, updated_at"):
            Stream(
                name="s",
                sync_mode="incremental_deduped_history",
                cursor="updated_at",
                primary_key=("id",),
                fields=("name",),
            )


class TestConnection:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", "Fetch Stars"),
            ("namespace", "my-schema"),
            ("streams", ()),
            ("sync_every_minutes", 7),
            ("schedule", "cron"),
            ("unheard", "of"),
        ],
    )
    def test_an_invalid_field_is_refused(self, field, value):
        with pytest.raises(ValidationError, match=field):
            connection(**{field: value})

    def test_two_connections_of_one_name_are_refused(self):
        with pytest.raises(
            DeclarationError, match="connection 'fetch_stargazer' is declared twice"
        ):
            check_connections((fetch_stargazer, connection(prefix="other_")))

    def test_two_connections_into_one_table_are_refused(self):
        with pytest.raises(
            DeclarationError, match=r"table 'postgres.stargazers' is declared twice"
        ):
            check_connections((fetch_stargazer, connection(name="other")))

    def test_two_different_sources_of_one_name_are_refused(self):
        source = Source(name="github", type="github", configuration={})

        with pytest.raises(DeclarationError, match="two sources named 'github' differ"):
            check_connections((fetch_stargazer, connection(name="other", source=source)))

    def test_a_stream_without_a_recorded_schema_says_how_to_record_it(self):
        with pytest.raises(DeclarationError, match=r"no stream 'issues'.*ingestion record"):
            stream_schema("source-github", "issues")
        with pytest.raises(DeclarationError, match=r"no catalog of source-faker.*ingestion record"):
            stream_schema("source-faker", "users")


class TestConfiguration:
    def test_values_are_looked_up_in_the_environment(self):
        source = Source(
            name="s",
            type="unheard-of",
            configuration={
                "text": Env("TEXT"),
                "number": Env("NUMBER", type="integer"),
                "default": Env("UNSET", default="d"),
                "list": [Env("TEXT"), Secret("TOKEN")],
                "plain": 5,
            },
        )
        found = resolve(source, {"TEXT": "t", "NUMBER": "7", "TOKEN": "secret-token"})

        assert {
            "text": "t",
            "number": 7,
            "default": "d",
            "list": ["t", "secret-token"],
            "plain": 5,
        } == found.values
        assert {"list.1": "secret-token"} == found.secrets
        assert "secret-token" not in repr(found)


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
