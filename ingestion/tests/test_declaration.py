"""What can be declared, and what is refused."""

from __future__ import annotations

import pytest
from ingestion.airbyte.declaration import (
    Connection,
    Source,
    Stream,
    check_connections,
)
from ingestion.airbyte.record import stream_schema
from ingestion.connections import fetch_stargazer
from ingestion.errors import DeclarationError
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
