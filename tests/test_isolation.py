"""Each location's environment has the location's own package, freshline, and no other of ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.dagster import LOCATIONS, ROOT

PROBE = """
import importlib.metadata, importlib.util, json, sys
print(json.dumps({
    "importable": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
    "installed": [d.metadata["Name"].lower() for d in importlib.metadata.distributions()],
}))
"""


@pytest.mark.parametrize("location", LOCATIONS)
def test_an_environment_has_no_package_of_another_location(location: str, tmp_path: Path) -> None:
    python = ROOT / location / ".venv" / "bin" / "python"

    # In an empty folder, because modules in the current folder can be imported.
    done = subprocess.run(
        [python, "-c", PROBE, "freshline", "devstack", *LOCATIONS],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )

    found = json.loads(done.stdout)
    assert sorted(["freshline", location]) == sorted(found["importable"])
    installed = {name.replace("-", "_") for name in found["installed"]}
    assert {"freshline", location} == installed & {"freshline", "devstack", *LOCATIONS}


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_location_imports_no_other(location: str) -> None:
    others = [name for name in LOCATIONS if name != location]

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

    for location in LOCATIONS:
        missing = {
            path for path in wanted if not (ROOT / location / path.format(location)).exists()
        }
        assert set() == missing, location
