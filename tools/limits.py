"""Set the limits of the pools that differ from the default in dagster.yaml.

The instance keeps them in its database; dagster.yaml has no place for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dotenv import load_dotenv

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"warehouse": 4}
"""How many runs of a pool may run at once. dagster.yaml allows four runs altogether, so no team
waits for another team's build. A connection's pool keeps the default, 1."""


def main() -> None:
    load_dotenv(ROOT / ".env")
    os.environ.setdefault("DAGSTER_HOME", str(ROOT))
    for pool, limit in LIMITS.items():
        command: list[str | Path] = [ROOT / ".venv" / "bin" / "dagster", "instance"]
        command += ["concurrency", "set", pool, str(limit)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"The limit of pool {pool} could not be set:\n{done.stderr.strip()}")


if __name__ == "__main__":
    main()
