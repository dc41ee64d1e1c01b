"""docs/renaming.md, followed in a copy of this checkout: each edit fits, each output is true."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.dagster import HOST_BIN, ROOT
from support.page import Edit, read_steps

LOCATIONS = ("analytics_core", "analytics_marts", "ingestion")
LEFT_OUT = (".git", ".env", ".local", ".tox", ".venv", ".*_cache", "target", "dbt_packages")
AUTHOR = {"NAME": "reader", "EMAIL": "reader@example.com"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A committed copy of what the page changes and reads, with this checkout's environments."""
    for name in ("workspace.yaml", "pyproject.toml", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in LOCATIONS:
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignore)
        (tmp_path / name / ".venv").symlink_to(ROOT / name / ".venv")
    for command in ("init --quiet", "add --all", "commit --quiet --message before"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, env=reader(tmp_path), check=True)
    return tmp_path


def reader(checkout: Path) -> dict[str, str]:
    """Return the variables of somebody who works in `checkout`."""
    author = {f"GIT_{who}_{key}": AUTHOR[key] for who in ("AUTHOR", "COMMITTER") for key in AUTHOR}
    # The environments have the packages of this checkout; those of the copy come first.
    packages = os.pathsep.join(str(checkout / name / "src") for name in LOCATIONS)
    path = os.pathsep.join((str(HOST_BIN), os.environ["PATH"]))
    return {**os.environ, **author, "PATH": path, "PYTHONPATH": packages}


def test_the_page_is_true(checkout: Path) -> None:
    steps = list(read_steps(ROOT / "docs" / "renaming.md"))
    assert 4 == sum(isinstance(step, Edit) for step in steps)

    for step in steps:
        done = subprocess.run(
            ["git", "apply", "-p0"] if isinstance(step, Edit) else ["sh", "-c", step.line],
            cwd=checkout,
            env=reader(checkout),
            input=step.patch if isinstance(step, Edit) else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if isinstance(step, Edit):
            assert 0 == done.returncode, f"{step.patch}\n{done.stderr}"
            continue
        printed = "\n".join(line.rstrip() for line in done.stdout.splitlines())
        assert step.output.rstrip() == printed.rstrip(), f"{step.line}\n{printed}\n{done.stderr}"
