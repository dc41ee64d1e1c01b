"""Environments with freshline and different Dagster versions, made once for a checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.dagster import ROOT

# Dagster and its libraries are released together: 1.x.y goes with 0.(x+16).y.
MINORS = {"1.12.9": "0.28.9", "1.13.4": "0.29.4", "1.13.27": "0.29.27"}
UV = ROOT / ".venv" / "bin" / "uv"


def python_with(dagster: str) -> Path:
    """Return the Python of an environment with Dagster, its Postgres and freshline[engine]."""
    environment = ROOT / ".local" / "dagster-versions" / dagster
    python = environment / "bin" / "python"
    ready = environment / ".ready"
    if not ready.exists():
        _uv("venv", "--clear", str(environment))
        pins = [f"dagster=={dagster}", f"dagster-postgres=={MINORS[dagster]}"]
        _uv(
            "pip",
            "install",
            "--compile-bytecode",
            "--python",
            str(python),
            *pins,
            "-e",
            f"{ROOT / 'shared'}[engine]",
        )
        ready.touch()
    return python


def _uv(*arguments: str) -> None:
    done = subprocess.run([UV, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
