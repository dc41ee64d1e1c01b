"""What images are made from, read without building any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.dagster import ROOT

HADOLINT = Path(sys.executable).with_name("hadolint")
CONTAINERFILES = sorted((ROOT / "deploy" / "images").glob("*.Containerfile"))


def test_both_are_there() -> None:
    assert ["host.Containerfile", "team.Containerfile"] == [file.name for file in CONTAINERFILES]


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: str(file.name))
def test_hadolint_finds_nothing(file: Path) -> None:
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: str(file.name))
def test_no_address_is_named(file: Path) -> None:
    """Which package index is asked is the business of the base image."""
    assert "://" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: str(file.name))
def test_packages_have_hashes_and_a_layer_of_their_own(file: Path) -> None:
    """A change of code leaves the layer as it is: nothing but the lock file comes before it."""
    steps = file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    (install,) = (n for n, step in enumerate(steps) if "--require-hashes" in step)

    copied = [step for step in steps[:install] if step.startswith("COPY")]
    assert 1 == len(copied)
    assert "requirements.lock" in copied[0]
