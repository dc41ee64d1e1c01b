"""docs/status.md shows what the commands print, and the schemas are those of what they print."""

from __future__ import annotations

import json

import pytest
from documented import DOCS, SCHEMAS, printed, shown


def test_the_page_shows_what_the_commands_print() -> None:
    assert shown() == printed()


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_up_to_date(name: str) -> None:
    assert SCHEMAS[name]() == json.loads((DOCS / name).read_text(encoding="utf-8"))
