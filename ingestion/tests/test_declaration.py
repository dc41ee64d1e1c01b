"""What can be declared, and what is refused."""

from __future__ import annotations

import pytest
from ingestion.airbyte.declaration import (
    Connection,
    Destination,
    Env,
    Nested,
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

    def test_two_connections_of_one_name_in_airbyte_are_refused(self):
        other = connection(name="other", airbyte_name="fetch_stargazer", prefix="other_")

        with pytest.raises(DeclarationError, match="'fetch_stargazer' is declared twice"):
            check_connections((fetch_stargazer, other))

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


class TestNames:
    """Postgres keeps 63 bytes of a name. No two names can become one, as none is ever cut."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"prefix": "p" * 54},
                (
                    "connection 'fetch_stargazer' in connections.py: the table of stream "
                    f"'stargazers', '{'p' * 54}stargazers' has 64 bytes, and Postgres keeps 63 of "
                    "a name: shorten `prefix`"
                ),
            ),
            ({"prefix": "é" * 27}, "has 64 bytes"),
            ({"prefix": "p" * 49}, "the view 'stargazers_user' over stream 'stargazers'"),
            ({"namespace": "n" * 64}, "64 bytes, and Postgres keeps 63 of a name: shorten `name"),
        ],
    )
    def test_a_name_that_postgres_cuts_is_refused(self, changes, message):
        with pytest.raises(DeclarationError) as caught:
            check_connections((connection(**changes),))

        assert message in str(caught.value)

    def test_a_name_of_63_bytes_is_accepted(self):
        longest = connection(prefix="p" * (63 - len("stargazers_user")), namespace="n" * 63)

        assert (longest,) == check_connections((longest,))

    def test_a_long_stream_cannot_be_declared_even_without_a_prefix(self):
        stream = Stream(name="s" * 64, sync_mode="full_refresh_append")

        with pytest.raises(DeclarationError, match="take the stream out"):
            check_connections((connection(streams=(stream,)),))

    def test_a_long_column_is_refused_unless_it_is_not_synced(self, record):
        record("source-github", "wide", {"id": {}, "c" * 64: {}})
        stream = Stream(name="wide", sync_mode="full_refresh_append")

        with pytest.raises(DeclarationError, match=r"a column of stream 'wide'.*in `fields`"):
            check_connections((connection(streams=(stream,)),))
        narrow = connection(streams=(stream.model_copy(update={"fields": ("id",)}),))
        assert (narrow,) == check_connections((narrow,))

    def test_a_long_column_of_a_view_is_refused(self, record):
        record("source-github", "deep", {"user": {"properties": {"c" * 64: {}}}})
        view = Nested(name="deep_user", column="user")
        stream = Stream(name="deep", sync_mode="full_refresh_append", nested=(view,))

        with pytest.raises(DeclarationError, match=r"a column of the view.*out of `nested`"):
            check_connections((connection(streams=(stream,)),))

    def test_other_destinations_have_other_limits(self):
        elsewhere = Destination(name="lake", type="s3", configuration={})
        one = connection(destination=elsewhere, prefix="p" * 60)

        assert (one,) == check_connections((one,))


def reading(*repositories: object, **changes: object) -> Connection:
    """Return a connection that reads several repositories."""
    source = fetch_stargazer.source
    configuration = {**source.configuration, "repositories": [*repositories]}
    return connection(source=source.model_copy(update={"configuration": configuration}), **changes)


def stream(name: str, sync_mode: str, *primary_key: str) -> Stream:
    return Stream(name=name, sync_mode=sync_mode, primary_key=primary_key)


class TestKeys:
    """A key that holds within one repository would make one row of two."""

    @pytest.mark.parametrize(
        "repositories",
        [
            ("acme/rocket", "acme/moonshot"),
            ("acme/*",),
            ("acme/moon*",),
            (Env("ONE"), Env("TWO")),
        ],
    )
    def test_a_key_that_holds_within_one_repository_is_refused_for_several(self, repositories):
        with pytest.raises(DeclarationError, match="reads several repositories") as caught:
            check_connections((reading(*repositories),))
        assert "stream 'stargazers' would lose rows" in str(caught.value)
        assert "a source and a connection for each repository" in str(caught.value)

    def test_the_deprecated_list_between_blanks_is_read_too(self):
        source = fetch_stargazer.source.model_copy(
            update={"configuration": {"repository": "acme/rocket acme/moonshot"}}
        )

        with pytest.raises(DeclarationError, match=r"\(acme/rocket, acme/moonshot\)"):
            check_connections((connection(source=source),))

    @pytest.mark.parametrize("sync_mode", ["full_refresh_overwrite", "incremental_append"])
    def test_a_mode_that_keeps_all_rows_is_accepted(self, sync_mode):
        one = reading("acme/*", streams=(stream("stargazers", sync_mode),))

        assert (one,) == check_connections((one,))

    def test_one_repository_is_accepted_however_it_is_written(self):
        one = reading("acme/rocket", "Acme/Rocket")

        assert (one,) == check_connections((one,))

    def test_a_key_that_holds_everywhere_is_accepted(self):
        one = reading("acme/*", streams=(stream("issues", "incremental_deduped_history", "id"),))

        assert (one,) == check_connections((one,))

    def test_a_key_that_holds_within_one_organization(self):
        users = stream("users", "full_refresh_overwrite_deduped", "id")
        one = reading("acme/*", "acme/rocket", streams=(users,))

        assert (one,) == check_connections((one,))
        with pytest.raises(DeclarationError, match=r"several organizations \(acme, zeta\)"):
            check_connections((reading("acme/*", "zeta/x", streams=(users,)),))

    def test_another_key_than_the_connectors_is_refused(self):
        wished = stream("stargazers", "incremental_deduped_history", "repository", "user_id")

        with pytest.raises(
            DeclarationError, match="source-github defines it as `user_id`, which Airbyte lets"
        ):
            check_connections((reading("acme/*", streams=(wished,)),))
