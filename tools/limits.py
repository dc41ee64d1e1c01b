"""Set the limits of pools that differ from dagster.yaml's default; they live in the instance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dotenv import load_dotenv

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"warehouse": 4}
"""How many runs at once: as many as dagster.yaml starts at all, so that no team waits for
another team's build. The default of 1 is right for a connection."""


def main() -> None:
    load_dotenv(ROOT / ".env")
    os.environ.setdefault("DAGSTER_HOME", str(ROOT))
    for pool, limit in LIMITS.items():
        command = [ROOT / ".venv" / "bin" / "dagster", "instance", "concurrency", "set"]
        done = subprocess.run(
            [*command, pool, str(limit)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"The limit of pool {pool} could not be set:\n{done.stderr.strip()}")


if __name__ == "__main__":
    main()
