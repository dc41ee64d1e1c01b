"""Columns from a JSON schema and cells from values: nothing fails, every change is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from devstack.airbyte.columns import cells, column_name, columns_of, converter_of
from hypothesis import given
from hypothesis import strategies as st


def one_cell(schema: dict[str, Any], value: Any) -> tuple[Any, list[str]]:
    """Return the cell for one value, and the changes that were made to the value."""
    columns = columns_of({"properties": {"field": schema}})
    (cell,), changes = cells(columns, {"field": value})
    return cell, [change["change"] for change in changes]


STRING = {"type": ["null", "string"]}
INTEGER = {"type": ["null", "integer"]}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
DATE = {"type": "string", "format": "date"}
DATE_TIME = {"type": "string", "format": "date-time"}
LOCAL = {**DATE_TIME, "airbyte_type": "timestamp_without_timezone"}
TIME = {"type": "string", "format": "time"}
OBJECT = {"type": "object"}


class TestTypes:
    @pytest.mark.parametrize(
        ("schema", "expected"),
        [
            (STRING, "text"),
            (INTEGER, "bigint"),
            (NUMBER, "numeric"),
            ({"type": ["integer", "number", "null"]}, "numeric"),
            ({"type": "number", "airbyte_type": "integer"}, "bigint"),
            (BOOLEAN, "boolean"),
            (DATE, "date"),
            (DATE_TIME, "timestamptz"),
            (LOCAL, "timestamp"),
            (TIME, "timetz"),
            ({**TIME, "airbyte_type": "time_without_timezone"}, "time"),
            (OBJECT, "jsonb"),
            ({"type": ["null", "array"]}, "jsonb"),
            ({"type": ["string", "integer"]}, "jsonb"),
            ({"oneOf": [{"type": "string"}, {"type": "object"}]}, "jsonb"),
            ({}, "jsonb"),
            (True, "jsonb"),
        ],
    )
    def test_column_type_follows_the_schema(self, schema: Any, expected: str) -> None:
        (column,) = columns_of({"properties": {"field": schema}})

        assert expected == column.type

    def test_selected_fields_alone_become_columns(self) -> None:
        columns = columns_of({"properties": {"a": STRING, "b": STRING}}, ["b"])

        assert ["b"] == [column.name for column in columns]

    def test_converter_is_found_by_postgres_name_of_its_type(self) -> None:
        names = ["timestamp with time zone", "character varying", "bigint", "uuid"]

        assert [True, True, True, False] == [converter_of(name) is not None for name in names]


class TestValues:
    @pytest.mark.parametrize(
        ("schema", "value", "expected"),
        [
            (STRING, "é", "é"),
            (STRING, 12, "12"),
            (STRING, {"a": 1}, '{"a": 1}'),
            (INTEGER, 2**63 - 1, "9223372036854775807"),
            (INTEGER, "-7", "-7"),
            (INTEGER, 3.0, "3"),
            (NUMBER, 1.5, "1.5"),
            (NUMBER, "1e3", "1E+3"),
            (NUMBER, 10**400, str(10**400)),
            (BOOLEAN, True, "t"),
            (BOOLEAN, "False", "false"),
            (DATE, "2024-02-29", "2024-02-29"),
            (DATE_TIME, "2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"),
            (DATE_TIME, "2024-02-29T12:00:00", "2024-02-29T12:00:00+00:00"),
            (DATE_TIME, "2024-02-29 12:00:00.5+0530", "2024-02-29T12:00:00.500000+05:30"),
            (DATE_TIME, "2024-02-29T12:00:00.123456789-03", "2024-02-29T12:00:00.123456-03:00"),
            (DATE_TIME, " 2024-02-29t12:00:00z ", "2024-02-29T12:00:00+00:00"),
            (LOCAL, "2024-02-29T12:00:00Z", "2024-02-29T12:00:00"),
            (TIME, "12:30:00Z", "12:30:00+00:00"),
            (OBJECT, {"b": [1, None], "a": "é"}, '{"b":[1,null],"a":"é"}'),
            (OBJECT, "text", '"text"'),
            (OBJECT, {"path": "C:\\u0000"}, '{"path":"C:\\\\u0000"}'),
        ],
    )
    def test_value_that_fits_is_kept(self, schema: Any, value: Any, expected: str) -> None:
        assert (expected, []) == one_cell(schema, value)

    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            (INTEGER, "seven"),
            (INTEGER, 2**63),
            (INTEGER, 1.5),
            (INTEGER, True),
            (INTEGER, {"a": 1}),
            (NUMBER, "NaN"),
            (NUMBER, float("inf")),
            (NUMBER, "1e-20000"),
            (NUMBER, "1e200000"),
            (BOOLEAN, 1),
            (DATE, "2023-02-29"),
            (DATE_TIME, "yesterday"),
            (DATE_TIME, 1700000000),
            (TIME, "25:00:00"),
            (OBJECT, {"x": float("nan")}),
        ],
    )
    def test_value_that_does_not_fit_becomes_null(self, schema: Any, value: Any) -> None:
        assert (None, ["NULLED"]) == one_cell(schema, value)

    @pytest.mark.parametrize(
        ("schema", "value", "expected"),
        [
            (STRING, "a\0b", "ab"),
            (STRING, "half \ud800", "half ?"),
            (OBJECT, {"a": "x\0y"}, '{"a":"xy"}'),
            (OBJECT, {"a": "\udfff"}, '{"a":"?"}'),
        ],
    )
    def test_characters_that_cannot_be_stored_are_removed(
        self, schema: Any, value: Any, expected: str
    ) -> None:
        assert (expected, ["TRUNCATED"]) == one_cell(schema, value)

    def test_changes_say_which_field_and_why(self) -> None:
        columns = columns_of({"properties": {"n": INTEGER, "t": STRING}})
        _, changes = cells(columns, {"n": "x", "t": "ok"})

        assert [
            {"field": "n", "change": "NULLED", "reason": "DESTINATION_TYPECAST_ERROR"}
        ] == changes

    @given(
        st.sampled_from([STRING, INTEGER, NUMBER, BOOLEAN, DATE, DATE_TIME, LOCAL, TIME, OBJECT]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
    def test_any_value_at_all_gives_a_cell(self, schema: Any, value: Any) -> None:
        cell, changes = one_cell(schema, value)

        assert cell is None or "\0" not in cell.encode().decode()
        assert value is None or cell is not None or ["NULLED"] == changes


class TestNames:
    @pytest.mark.parametrize("name", ["user", "select", "Mixed Case", 'quo"te', "é" * 31])
    def test_usable_name_is_kept(self, name: str) -> None:
        assert name == column_name(name)

    def test_long_names_with_the_same_beginning_stay_different(self) -> None:
        first, second = column_name("x" * 70 + "a"), column_name("x" * 70 + "b")

        assert first != second
        assert [63, 63] == [len(first), len(second)]

    @pytest.mark.parametrize("name", ["", "_airbyte_meta", "nul\0", "é" * 32])
    def test_unusable_name_is_changed(self, name: str) -> None:
        changed = column_name(name, taken={"nul"})

        assert name != changed
        assert 0 < len(changed.encode()) <= 63
        assert not changed.startswith("_airbyte_")

    def test_two_fields_never_get_the_same_name(self) -> None:
        names = [column.name for column in columns_of({"properties": {"a": {}, "a\0": {}}})]

        assert 2 == len(set(names))
