"""Differences between configurations of every shape that connectors use."""

from __future__ import annotations

import pytest
from ingestion.airbyte.compare import added, configuration_changes, secret_changes
from ingestion.airbyte.configuration import Configuration
from ingestion.airbyte.secrets import digest

SPEC = {
    "type": "object",
    "properties": {
        "port": {"type": "integer", "default": 5432},
        "ratio": {"type": "number"},
        "flag": {"type": "boolean", "default": False},
        "tunnel": {
            "type": "object",
            "oneOf": [
                {"properties": {"method": {"const": "none"}}},
                {
                    "properties": {
                        "method": {"const": "ssh"},
                        "port": {"type": "integer", "default": 22},
                        "key": {"type": "string", "airbyte_secret": True},
                    }
                },
            ],
        },
        "files": {
            "type": "array",
            "items": {
                "properties": {
                    "name": {"type": "string"},
                    "format": {"type": "string", "default": "csv"},
                    "key": {"type": "string", "airbyte_secret": True},
                }
            },
        },
    },
}


@pytest.fixture(autouse=True)
def _specification(monkeypatch):
    monkeypatch.setattr("ingestion.airbyte.specification.connector_spec", lambda _: SPEC)


def changes(new, old, secrets=()):
    configuration = Configuration(new, {path: f"value of {path}" for path in secrets}, checked=True)
    return [
        (one.operation, ".".join(one.path[1:]), one.old, one.new)
        for one in configuration_changes("source-x", configuration, old)
    ]


class TestNoDifference:
    @pytest.mark.parametrize(
        ("new", "old"),
        [
            ({}, {"port": 5432, "flag": False}),
            ({}, {"port": 5432.0}),
            ({"port": 5432}, {"port": 5432.0}),
            ({"port": 5432}, {"port": "5432"}),
            ({"ratio": 1}, {"ratio": 1.0}),
            ({"ratio": 0.5}, {"ratio": "0.50"}),
            ({"name": "a"}, {"name": "a", "more": None, "text": "", "list": [], "object": {}}),
            ({"name": None}, {}),
            ({}, {"tunnel": {"method": "none"}}),
            ({"tunnel": {"method": "ssh"}}, {"tunnel": {"method": "ssh", "port": 22}}),
            ({"files": [{"name": "a"}]}, {"files": [{"name": "a", "format": "csv"}]}),
            ({"files": ({"name": "a"},)}, {"files": [{"name": "a", "key": None}]}),
            ({"unspecified": {"a": [1, {"b": 2}]}}, {"unspecified": {"a": [1, {"b": 2}]}}),
        ],
    )
    def test_equal_values_are_no_difference(self, new, old):
        assert [] == changes(new, old)

    def test_masked_secrets_are_no_difference(self):
        new = {"tunnel": {"key": "k"}, "files": [{"name": "a", "key": "k"}]}
        old = {"tunnel": {"key": "***"}, "files": [{"name": "a", "key": "***"}]}

        assert [] == changes(new, old, ["tunnel.key", "files.0.key"])


class TestDifference:
    @pytest.mark.parametrize(
        ("new", "old", "expected"),
        [
            ({"port": 1}, {}, [("+", "port", None, 1)]),
            ({"port": 1}, {"port": 2.0}, [("~", "port", 2.0, 1)]),
            ({"flag": True}, {"flag": 1}, [("~", "flag", 1, True)]),
            ({"flag": 0}, {"flag": False}, [("~", "flag", False, 0)]),
            ({}, {"port": 1}, [("-", "port", 1, None)]),
            ({}, {"unspecified": 1}, [("-", "unspecified", 1, None)]),
            ({"list": [1, 2]}, {"list": [2, 1]}, [("~", "list", [2, 1], [1, 2])]),
            ({"list": [1]}, {"list": [1, 2]}, [("~", "list", [1, 2], [1])]),
            ({"a": {"b": 1}}, {"a": "text"}, [("+", "a.b", None, 1)]),
            (
                {},
                {"tunnel": {"method": "ssh", "port": 22}},
                [("-", "tunnel", {"method": "ssh", "port": 22}, None)],
            ),
            (
                {},
                {"tunnel": {"method": "none", "port": 23}},
                [("-", "tunnel", {"method": "none", "port": 23}, None)],
            ),
        ],
    )
    def test_changed_values_are_shown(self, new, old, expected):
        assert expected == changes(new, old)

    def test_a_list_is_shown_without_its_secrets(self):
        new = {"files": [{"name": "b", "key": "k"}]}
        old = {"files": [{"name": "a", "key": "***"}]}
        ((operation, path, before, after),) = changes(new, old, ["files.0.key"])

        assert ("~", "files") == (operation, path)
        assert [{"name": "a", "key": "********"}] == before
        assert [{"name": "b", "key": "********"}] == after

    def test_undeclared_secrets_inside_a_value_are_masked(self):
        old = {"tunnel": {"method": "ssh", "key": "in-the-clear"}, "files": [{"key": "clear"}]}

        assert [
            ("-", "tunnel", {"method": "ssh", "key": "********"}, None),
            ("-", "files", [{"key": "********"}], None),
        ] == changes({}, old)

    def test_an_undeclared_secret_is_shown_without_its_value(self):
        assert [("-", "tunnel.key", None, None)] == changes(
            {"tunnel": {"method": "ssh"}}, {"tunnel": {"method": "ssh", "key": "in-the-clear"}}
        )


class TestSecrets:
    @pytest.mark.parametrize(
        ("old", "known", "expected"),
        [
            ({"files": [{"key": "***"}]}, digest("k"), []),
            ({"files": [{"key": "***"}]}, digest("other"), [("~", "old", "new")]),
            ({"files": [{"key": "***"}]}, None, [("~", "unknown", "set")]),
            ({"files": [{}]}, digest("k"), [("+", None, None)]),
            ({"files": []}, digest("k"), [("+", None, None)]),
            ({}, None, [("+", None, None)]),
        ],
    )
    def test_secrets_are_compared_by_their_digests(self, old, known, expected, monkeypatch):
        configuration = Configuration({"files": [{"key": "k"}]}, {"files.0.key": "k"}, checked=True)
        # The parameters were digested at full cost, when this file was imported.
        monkeypatch.setattr("ingestion.airbyte.secrets._SCRYPT", {"n": 2**14, "r": 8, "p": 1})
        found = secret_changes(configuration, old, {"files.0.key": known} if known else {})

        assert expected == [(one.operation, one.old, one.new) for one in found]

    def test_secrets_in_a_new_list_are_masked(self):
        (change,) = added(
            [{"name": "a", "key": "k"}], ("configuration", "files"), {"files.0.key": "k"}
        )

        assert [{"name": "a", "key": "********"}] == change.new
