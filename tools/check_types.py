"""Check the types of every package of this checkout with mypy, in the package's own environment.

`tox -e types` runs this; `make setup` has made the environments. The checks run at the same time,
and all of them run even if one fails. To run only some checks, name them:
`.venv/bin/tox -e types -- ingestion`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from projects import find_projects

ROOT = Path(__file__).resolve().parent.parent
FRESHLINE = ROOT / "shared" / "src" / "freshline"
TESTED_WITH_DBT = "analytics_core"
"""Freshline's dbt modules are tested, and therefore checked, in this project's environment."""


@dataclass(frozen=True)
class Check:
    name: str
    environment: Path
    """The folder whose .venv has what the code imports."""
    code: Sequence[Path]
    options: Sequence[str] = ()
    search: Sequence[Path] = ()
    """Folders with modules that are not installed; scripts put these folders on their path."""


def main(names: Sequence[str]) -> int:
    found = {check.name: check for check in checks()}
    if unknown := [name for name in names if name not in found]:
        sys.exit(f"There is no check {unknown[0]}. There are: {', '.join(found)}")
    chosen = [found[name] for name in names or found]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, chosen))
    for check, result in zip(chosen, results, strict=True):
        print(f"{check.name}: {result.stdout.strip()}", flush=True)
    return int(any(result.returncode != 0 for result in results))


def checks() -> list[Check]:
    """Return all checks."""
    projects = [ROOT / name for name in find_projects(ROOT) if (ROOT / name / "src").is_dir()]
    return [
        # Without its dbt modules: they need dagster-dbt, which the host does not have.
        Check("freshline", ROOT, [FRESHLINE], ["--exclude", "freshline/dbt"]),
        *[Check(project.name, project, [project / "src"]) for project in projects],
        Check("freshline.dbt", ROOT / TESTED_WITH_DBT, sorted(FRESHLINE.glob("dbt*"))),
        Check("tools", ROOT, [ROOT / "tools"]),
        *bench(),
    ]


def bench() -> list[Check]:
    """Return the checks of the measurements: two run in the environment of what they measure."""
    folder = ROOT / "bench"
    with_the_stack = folder / "airbyte_load.py"
    marts = ROOT / "analytics_marts" / "src"
    with_dbt = folder / "warm_dbt.py"
    scripts = {*folder.glob("*.py"), *folder.glob("chain_workspace/*.py")}
    others = sorted(scripts - {with_the_stack, with_dbt})
    search = [ROOT / "tools", ROOT / "shared" / "tests", ROOT / "devstack" / "testing"]
    search += [ROOT / "tests", ROOT / "tests" / "hosts", folder / "chain_workspace"]
    return [
        Check("bench", ROOT, others, search=search),
        Check("bench/airbyte_load", ROOT / "devstack", [with_the_stack]),
        Check("bench/warm_dbt", ROOT / "analytics_marts", [with_dbt], search=[*search, marts]),
    ]


def run(check: Check) -> subprocess.CompletedProcess[str]:
    python = check.environment / ".venv" / "bin" / "python"
    command = [sys.executable, "-m", "mypy", "--python-executable", str(python)]
    # Two checks that share a cache would each throw away what the other has found.
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / check.name.replace("/", "_"))]
    command += [*check.options, *map(str, check.code)]
    environment = {**os.environ, "MYPYPATH": os.pathsep.join(map(str, check.search))}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
