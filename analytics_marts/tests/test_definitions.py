"""What the location declares; nothing of it runs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from analytics_marts.definitions import defs
from dbt_location_fixtures import lineage

SNAPSHOT = Path(__file__).with_name("lineage.json")

# Loads the location in a process that refuses each network connection and each start of dbt.
LOAD_ALONE = """
import sys

def refuse(event, args):
    if event == "socket.connect" or event == "subprocess.Popen" and "dbt" in str(args[0]):
        raise AssertionError(f"{event} {args} while the location loads")

sys.addaudithook(refuse)
from analytics_marts.definitions import defs
print(len(defs.resolve_all_asset_keys()))
"""


def test_lineage_is_the_reviewed_one(reviewed: Any) -> None:
    """`make snapshots` accepts a change; the file then shows it to the reviewer."""
    found = lineage(defs)

    assert reviewed(SNAPSHOT, found) == found


def test_loads_with_every_server_down_and_no_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALONE], env={}, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_no_other_package_of_this_repository_is_installed() -> None:
    found = {
        package.metadata["Name"].replace("-", "_")
        for package in distributions()
        if package.read_text("direct_url.json")  # installed from a folder, not from an index
    }

    assert {"freshline", "analytics_marts"} == found
