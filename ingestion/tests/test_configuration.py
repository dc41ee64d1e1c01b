"""Configurations looked up in the environment."""

from __future__ import annotations

from ingestion.airbyte.configuration import resolve
from ingestion.airbyte.declaration import Env, Secret, Source


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
