"""Each team's environment is its own: it holds that team's package and freshline, no other's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from support.dagster import ROOT

LOCATIONS = [
    entry["python_module"]
    for entry in yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
]
NAMES = [entry["location_name"] for entry in LOCATIONS]
PROBE = """
import importlib.metadata, importlib.util, json, sys
print(json.dumps({
    "importable": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
    "installed": [d.metadata["Name"].lower() for d in importlib.metadata.distributions()],
}))
"""


@pytest.mark.parametrize("location", NAMES)
def test_a_locations_environment_holds_no_other_locations_package(
    location: str, tmp_path: Path
) -> None:
    python = ROOT / location / ".venv" / "bin" / "python"

    # From a folder elsewhere: nothing is importable for lying in the current directory.
    done = subprocess.run(
        [python, "-c", PROBE, "freshline", "devstack", *NAMES],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )

    found = json.loads(done.stdout)
    assert sorted(["freshline", location]) == sorted(found["importable"])
    ours = {"freshline", "devstack", *(name.replace("_", "-") for name in NAMES), *NAMES}
    assert {"freshline", location} == {
        name.replace("-", "_") for name in ours & set(found["installed"])
    }


@pytest.mark.parametrize("location", NAMES)
def test_no_location_imports_another(location: str) -> None:
    others = [name for name in NAMES if name != location]

    for file in (ROOT / location / "src").rglob("*.py"):
        text = file.read_text()
        for other in others:
            assert f"import {other}" not in text, file
            assert f"from {other}" not in text, file


def test_the_locations_look_alike() -> None:
    wanted = {
        "pyproject.toml",
        "requirements.lock",
        "contract.json",
        "src/{}/definitions.py",
        "src/{}/assets.py",
        "src/{}/resources.py",
        "tests/test_definitions.py",
        "tests/lineage.json",
    }

    for location in NAMES:
        missing = {
            path for path in wanted if not (ROOT / location / path.format(location)).exists()
        }
        assert set() == missing, location
