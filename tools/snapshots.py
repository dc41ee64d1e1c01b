"""Write the derived files that are reviewed: what `make snapshots` runs.

These are, for each code location, contract.json (what other teams see of it) and
tests/lineage.json (its assets with their checks); and where all of them are served
(deploy/workspace.yaml, deploy/environment.example).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from projects import read_locations

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
FIRST_PORT = 4001


def main() -> int:
    locations = read_locations(ROOT)
    for file, written_for in SERVED.items():
        text = file.read_text(encoding="utf-8")
        file.write_text(written_for(text, locations), encoding="utf-8")
    # Write all of them, even if one fails: the locations do not depend on each other.
    written = [write_contracts(), *[write_lineage(location) for location in locations]]
    return 0 if all(written) else 1


def deployed(before: str, locations: list[str]) -> str:
    """Return the content of deploy/workspace.yaml for these locations; `before` is the old one."""
    comments = [line for line in before.splitlines() if line.startswith("#")]
    entries = [
        f"  - grpc_server: {{ location_name: {location}, host: {{ env: {prefix(location)}_HOST }}, "
        f"port: {{ env: {prefix(location)}_PORT }} }}"
        for location in locations
    ]
    return "\n".join([*comments, "load_from:", *entries]) + "\n"


def addressed(before: str, locations: list[str]) -> str:
    """Return the content of deploy/environment.example with an address for each location.

    Locations in `before`, the old content, keep their host and port; a new one gets the next port.
    """
    lines = before.splitlines()
    comment = next(number for number, line in enumerate(lines) if "`make snapshots`" in line)
    first = next(n for n in range(comment, len(lines)) if not lines[n].startswith("#"))
    end = lines.index("", first)
    known = dict(line.split("=", 1) for line in lines[first:end])
    block = []
    for location in locations:
        host, port = f"{prefix(location)}_HOST", f"{prefix(location)}_PORT"
        ports = [int(value) for name, value in known.items() if name.endswith("_PORT")]
        known.setdefault(host, "127.0.0.1")
        known.setdefault(port, str(max(ports, default=FIRST_PORT - 1) + 1))
        block += [f"{host}={known[host]}", f"{port}={known[port]}"]
    return "\n".join([*lines[:first], *block, *lines[end:]]) + "\n"


def prefix(location: str) -> str:
    """Return how the names of the variables begin that say where a location is served."""
    return re.sub(r"\W", "_", location).upper()


def write_contracts() -> bool:
    """Write every contract.json with freshline; return whether all locations could be loaded."""
    command: list[str | Path] = [ROOT / ".venv" / "bin" / "freshline", "contract", "write"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def write_lineage(location: str) -> bool:
    """Write a location's lineage.json with the location's own test; return whether that worked."""
    folder = ROOT / location
    file = folder / "tests" / "lineage.json"
    before = file.read_bytes() if file.exists() else b""
    command: list[str | Path] = [folder / ".venv" / "bin" / "python", "-m", "pytest"]
    command += ["-q", "--no-header"]
    command += ["tests/test_definitions.py", "-k", "reviewed", "--write-lineage"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{location}: {file.name} could not be written\n{done.stdout}{done.stderr}")
        return False
    outcome = "is up to date" if file.read_bytes() == before else "written"
    print(f"{location}: {file.relative_to(ROOT)} {outcome}")
    return True


SERVED: dict[Path, Callable[[str, list[str]], str]] = {
    DEPLOY / "workspace.yaml": deployed,
    DEPLOY / "environment.example": addressed,
}
"""What says where the locations are served, and what writes it."""


if __name__ == "__main__":
    sys.exit(main())
