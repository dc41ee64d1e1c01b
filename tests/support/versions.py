"""Environments with other versions of packages, or programs of others, made once for a checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.dagster import ROOT

# Dagster and its libraries are released together: 1.x.y goes with 0.(x+16).y.
MINORS = {"1.12.9": "0.28.9", "1.13.4": "0.29.4", "1.13.27": "0.29.27"}
UV = ROOT / ".venv" / "bin" / "uv"


def python_with(dagster: str) -> Path:
    """Return the Python of an environment with Dagster, its Postgres and freshline[engine]."""
    pins = [f"dagster=={dagster}", f"dagster-postgres=={MINORS[dagster]}"]
    return environment_with(dagster, *pins, extras=["engine"])


def environment_with(
    name: str, *requirements: str, extras: Sequence[str] = (), python: Path | None = None
) -> Path:
    """Return the Python of an environment with freshline, its `extras`, and `requirements`.

    `python` is what it is made with, by default the Python of this process. The environment is made
    anew when that, a requirement, or what freshline needs has changed.
    """
    base = python or Path(sys.executable)
    project = ROOT / "shared"
    freshline = f"{project}[{','.join(extras)}]" if extras else str(project)
    needs = (project / "pyproject.toml").read_text(encoding="utf-8")
    return _environment(
        ROOT / ".local" / "dagster-versions" / name,
        base,
        [*requirements, "-e", freshline],
        "\n".join([str(base), freshline, *requirements, needs]),
    )


def environment_of(tool: str) -> Path:
    """Return the folder of an environment with `tool`, such as ``datacontract-cli==1.2.8``."""
    folder = ROOT / ".local" / "tools" / tool.partition("==")[0]
    _environment(folder, Path(sys.executable), [tool], tool)
    return folder


def other_python(minors: Sequence[str]) -> Path | None:
    """Return a Python of another minor version than this one, if one of `minors` is installed."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for minor in minors:
        command = [UV, "python", "find", "--no-project", "--no-python-downloads", minor]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if minor != own and done.returncode == 0:
            return Path(done.stdout.strip())
    return None


def _environment(folder: Path, base: Path, installed: Sequence[str], content: str) -> Path:
    """Return the Python of the environment in `folder`, made anew if `content` has changed."""
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists() or ready.read_text() != content:
        _uv("venv", "--clear", "--no-python-downloads", "--python", str(base), str(folder))
        _uv("pip", "install", "--compile-bytecode", "--python", str(python), *installed)
        ready.write_text(content)
    return python


def _uv(*arguments: str) -> None:
    done = subprocess.run([UV, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
