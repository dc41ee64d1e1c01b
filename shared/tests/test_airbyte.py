"""Keys, columns and specs of Airbyte's streams."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import pytest
from freshline.airbyte import (
    column_type,
    nested_columns,
    stream_columns,
    stream_key,
    stream_spec,
)
from freshline.errors import KeyConventionError

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": ["null", "integer"], "description": "Who."},
        "at": {"type": "string", "format": "date-time"},
        "user": {
            "type": ["null", "object"],
            "properties": {"login": {"type": "string"}, "admin": {"type": "boolean"}},
        },
    },
}


class TestStreamKey:
    def test_is_namespace_and_prefixed_name(self):
        assert dg.AssetKey(["postgres", "gh_stars"]) == stream_key(
            "postgres", "stars", prefix="gh_"
        )

    def test_a_name_outside_the_convention_is_refused_with_its_place(self):
        with pytest.raises(KeyConventionError, match=r"connection c in connections\.py.*'Stars'"):
            stream_key("postgres", "Stars", where="connection c in connections.py")


class TestStreamColumns:
    def test_airbytes_own_columns_come_first(self):
        assert [
            "_airbyte_raw_id text",
            "_airbyte_extracted_at timestamptz",
            "_airbyte_meta jsonb",
            "_airbyte_generation_id bigint",
            "id bigint",
            "at timestamptz",
            "user jsonb",
        ] == [f"{one.name} {one.type}" for one in stream_columns(SCHEMA)]

    def test_only_selected_fields_have_columns(self):
        assert ["at", "id"] == [one.name for one in stream_columns(SCHEMA, ["at", "id"])][4:]

    def test_an_unknown_field_is_refused(self):
        with pytest.raises(ValueError, match=r"no field 'login' .* has id, at, user"):
            stream_columns(SCHEMA, ["login"])

    def test_descriptions_are_kept(self):
        assert "Who." == stream_columns(SCHEMA, ["id"])[-1].description


class TestNestedColumns:
    def test_kept_columns_come_first(self):
        assert ["id bigint", "login text", "admin boolean"] == [
            f"{one.name} {one.type}" for one in nested_columns(SCHEMA, "user", ["id"])
        ]

    def test_a_column_that_is_no_object_is_refused(self):
        with pytest.raises(ValueError, match="no properties for an object 'id'"):
            nested_columns(SCHEMA, "id")

    def test_a_kept_column_with_the_name_of_a_property_is_refused(self):
        schema = {"properties": {**SCHEMA["properties"], "login": {"type": "string"}}}

        with pytest.raises(ValueError, match="'login' is both kept and a property"):
            nested_columns(schema, "user", ["login"])


class TestColumnType:
    @pytest.mark.parametrize(
        ("schema", "expected"),
        [
            ({"type": "string"}, "text"),
            ({"type": ["null", "string"]}, "text"),
            ({"type": "integer"}, "bigint"),
            ({"type": "number"}, "numeric"),
            ({"type": "number", "airbyte_type": "integer"}, "bigint"),
            ({"type": "boolean"}, "boolean"),
            ({"type": "array"}, "jsonb"),
            ({"type": "object"}, "jsonb"),
            ({"type": "string", "format": "date"}, "date"),
            ({"type": "string", "format": "date-time"}, "timestamptz"),
            (
                {
                    "type": "string",
                    "format": "date-time",
                    "airbyte_type": "timestamp_without_timezone",
                },
                "timestamp",
            ),
            ({"type": "string", "format": "time"}, "timetz"),
            ({"type": "string", "format": "uri"}, "text"),
            ({"type": ["string", "integer"]}, "jsonb"),
            ({"oneOf": [{"type": "string"}]}, "jsonb"),
            ({}, "jsonb"),
        ],
    )
    def test_is_the_type_in_a_typed_destination(self, schema, expected):
        assert expected == column_type(schema)


class TestStreamSpec:
    def test_has_all_that_the_ui_shows(self):
        key = stream_key("postgres", "stars")
        spec = stream_spec(
            key,
            connection="fetch",
            columns=stream_columns(SCHEMA, ["id"]),
            destination="postgres",
            deps=[stream_key("postgres", "other")],
            description="Stars.",
            group="github",
            owners=["team:ingestion"],
            metadata={"more": 1},
        )

        assert key == spec.key
        assert ["postgres/other"] == [dep.asset_key.to_user_string() for dep in spec.deps]
        assert ("Stars.", "github") == (spec.description, spec.group_name)
        assert ["team:ingestion"] == list(spec.owners)
        assert {"airbyte", "postgres"} == set(spec.kinds)
        assert "postgres.stars" == spec.metadata["dagster/table_name"]
        assert 5 == len(spec.metadata["dagster/column_schema"].columns)
        assert 1 == spec.metadata["more"]
        assert "freshline/view" not in spec.metadata

    def test_says_that_a_view_is_one(self):
        spec = stream_spec(
            stream_key("postgres", "stars_user"),
            connection="fetch",
            columns=(),
            destination="postgres",
            view=True,
        )

        assert spec.metadata["freshline/view"] is True


def test_does_not_import_dagster_airbyte():
    program = "import sys, freshline.airbyte; print('dagster_airbyte' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "False" == done.stdout.strip()
