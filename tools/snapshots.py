"""Write the derived files that are reviewed: what `make snapshots` runs.

These are, for each code location, contract.json (what other teams see of it) and
tests/lineage.json (its assets with their checks); and deploy/workspace.yaml (all ports).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from projects import read_locations

ROOT = Path(__file__).resolve().parent.parent
DEPLOYED = ROOT / "deploy" / "workspace.yaml"
FIRST_PORT = 4001


def main() -> int:
    locations = read_locations(ROOT)
    DEPLOYED.write_text(deployed(DEPLOYED.read_text(encoding="utf-8"), locations), encoding="utf-8")
    # Write all of them, even if one fails: the locations do not depend on each other.
    written = [write_contracts(), *[write_lineage(location) for location in locations]]
    return 0 if all(written) else 1


def deployed(before: str, locations: list[str]) -> str:
    """Return the content of deploy/workspace.yaml for these locations.

    Locations in `before`, the old content, keep their host and port; a new one gets the next port.
    """
    comments = [line for line in before.splitlines() if line.startswith("#")]
    known = [entry["grpc_server"] for entry in yaml.safe_load(before)["load_from"]]
    servers = {server["location_name"]: (server["host"], server["port"]) for server in known}
    lines = [*comments, "load_from:"]
    for location in locations:
        free = max((port + 1 for _, port in servers.values()), default=FIRST_PORT)
        host, port = servers.setdefault(location, ("127.0.0.1", free))
        lines.append(
            f"  - grpc_server: {{ location_name: {location}, host: {host}, port: {port} }}"
        )
    return "\n".join(lines) + "\n"


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


if __name__ == "__main__":
    sys.exit(main())
