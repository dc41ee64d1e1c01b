"""The code locations of a checkout, and their accounts in the warehouse."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from devstack.errors import DevstackError

WORKSPACE = "workspace.yaml"
# The package is installed as a link to its source, in the checkout that it belongs to.
FRESHLINE = Path(__file__).resolve().parents[4] / ".venv" / "bin" / "freshline"


def read_locations(root: Path) -> list[str]:
    """Return the names in the `workspace.yaml` of a checkout; none if it has no such file.

    Raises `DevstackError` if the file cannot be read.
    """
    return [name for _, name in _entries(root)]


def has_code(root: Path) -> bool:
    """Return whether the `workspace.yaml` of a checkout names code, and not only code servers.

    Raises `DevstackError` if the file cannot be read.
    """
    return any(kind != "grpc_server" for kind, _ in _entries(root))


def _entries(root: Path) -> list[tuple[str, str]]:
    """Return the kind and the name of each location."""
    path = root / WORKSPACE
    if not path.exists():
        return []
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["load_from"]
        pairs = [next(iter(entry.items())) for entry in entries]
        return [(kind, fields["location_name"]) for kind, fields in pairs]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise DevstackError(
            f"{path} cannot be read: it must be a list `load_from` of locations, each with its "
            f"location_name ({type(error).__name__}: {error})."
        ) from error


def user_variable(location: str) -> str:
    """Return the variable with the name of the location's role in the warehouse."""
    return f"WAREHOUSE_USER_{_ending(location)}"


def password_variable(location: str) -> str:
    """Return the variable with the password of the location's role in the warehouse."""
    return f"WAREHOUSE_PASSWORD_{_ending(location)}"


def _ending(location: str) -> str:
    # The name as it is, not in capitals: whoever copies a location renames it everywhere at once.
    return re.sub(r"\W", "_", location, flags=re.ASCII)


def rights_from_contracts(
    root: Path, environment: Mapping[str, str], say: Callable[[str], None]
) -> str | None:
    """Return the SQL for the warehouse that `freshline roles` makes of the committed contracts.

    None if there is a contract that cannot be used: `say` gets the reason.
    """
    command: list[str | Path] = [
        FRESHLINE,
        "roles",
        "warehouse",
        "--workspace",
        root / WORKSPACE,
    ]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise DevstackError(
            f"{FRESHLINE} cannot be run ({error.strerror}), and it knows the rights of the "
            "locations in the warehouse: make setup"
        ) from error
    for line in done.stderr.strip().splitlines():
        say(line)
    return done.stdout if done.returncode in (0, 1) else None
