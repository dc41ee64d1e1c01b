"""What the location declares, without running any of it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from analytics_core.definitions import defs
from dbt_location_fixtures import lineage

SNAPSHOT = Path(__file__).with_name("lineage.json")

# Loads the location in a Python that may neither connect to anything nor start dbt.
LOAD_ALONE = """
import sys

def refuse(event, args):
    if event == "socket.connect" or event == "subprocess.Popen" and "dbt" in str(args[0]):
        raise AssertionError(f"{event} {args} while the location loads")

sys.addaudithook(refuse)
from analytics_core.definitions import defs
print(len(defs.resolve_all_asset_keys()))
"""


def test_lineage_is_as_reviewed(reviewed: Any) -> None:
    """`pytest --write-lineage` accepts a change; the file shows it to who reviews."""
    found = lineage(defs)

    assert reviewed(SNAPSHOT, found) == found


def test_loads_with_every_server_down_and_no_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALONE], env={}, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("other", ["ingestion", "analytics_marts", "devstack"])
def test_other_teams_packages_are_not_installed(other: str) -> None:
    assert importlib.util.find_spec(other) is None
