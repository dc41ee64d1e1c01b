"""The settings in ``.env``: made on the first start, the owner's alone, never printed.

Who owns a setting is the point here. Passwords and tokens are generated once and kept. Where the
stack's own servers are (hosts, ports, URLs, the repository served) is *derived*: it follows the
``DEVSTACK_*`` settings, so it is written anew at each start - but only as long as it says what the
stack itself wrote last. A derived setting that someone has changed points at a server of theirs;
it is left alone, and the stack does not start its own.

The real environment wins over the file here and in every command of this workspace, except below
``dagster dev``: Dagster lays the file over the environment. So the file is the place for a setting.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from devstack.errors import DevstackError
from devstack.files import write_private
from devstack.ports import LOOPBACK

HEADER = (
    "# Written by `devstack up`; not tracked, and readable by you alone. Passwords are kept once\n"
    "# made. Change an address below to use a server of your own: the stack then starts none.\n"
    "# Optional: DEVSTACK_STARS (CSV of star events), DEVSTACK_POSTGRES_PORT,\n"
    "# DEVSTACK_AIRBYTE_PORT, DEVSTACK_GITHUB_PORT, AIRBYTE_WORKSPACE_ID.\n"
)
DEFAULT_PORTS = {"postgres": 15432, "airbyte": 18000, "github": 18080}
GENERATED = (
    "DAGSTER_PG_PASSWORD",
    "WAREHOUSE_PASSWORD",
    "AIRBYTE_CLIENT_ID",
    "AIRBYTE_CLIENT_SECRET",
    "GITHUB_TOKEN",
)
FIXED = {
    "DAGSTER_PG_USER": "dagster",
    "DAGSTER_PG_DATABASE": "dagster",
    "WAREHOUSE_USER": "warehouse",
    "WAREHOUSE_DATABASE": "warehouse",
}
# Which derived settings tell where a service is.
ADDRESSES = {
    "postgres": ("DAGSTER_PG_HOST", "DAGSTER_PG_PORT", "WAREHOUSE_HOST", "WAREHOUSE_PORT"),
    "airbyte": ("AIRBYTE_URL",),
    "github": ("GITHUB_API_URL",),
}


class Environment:
    """The settings of one checkout.

    :param root: the checkout; holds ``.env`` and ``.local/``.
    :param real: the real environment.
    """

    def __init__(self, root: Path, real: Mapping[str, str] | None = None) -> None:
        self._file = root / ".env"
        self._memory = root / ".local" / "derived.json"
        self._real = dict(os.environ if real is None else real)
        self._root = root

    def prepare(self) -> None:
        """Make ``.env`` if needed, add what it lacks, and bring derived addresses up to date.

        :raises DevstackError: when a setting makes no sense or a file cannot be written.
        """
        values = self._read()
        additions = {name: value for name, value in FIXED.items() if not self._has(values, name)}
        # An Airbyte of the user's own knows its own clients, or none but user names.
        external = self.is_external("airbyte")
        additions |= {
            name: secrets.token_urlsafe(24)
            for name in GENERATED
            if not self._has(values, name) and not (external and name.startswith("AIRBYTE_"))
        }
        self._write(values, additions)
        derived = {}
        for service in DEFAULT_PORTS:
            port = str(self.port(service))
            for name in ADDRESSES[service]:
                if name.endswith("_URL"):
                    derived[name] = f"http://{LOOPBACK}:{port}"
                else:
                    derived[name] = LOOPBACK if name.endswith("_HOST") else port
        self.derive(derived)

    def derive(self, values: Mapping[str, str]) -> None:
        """Write derived settings, except those that someone has changed."""
        current, memory = self._read(), self._remembered()
        changes = {}
        for name, value in values.items():
            if (current.get(name) or value) in (memory.get(name), value):
                memory[name] = value
                if name not in self._real and current.get(name) != value:
                    changes[name] = value
        self._write(current, changes)
        self._remember(memory)

    def is_external(self, service: str) -> bool:
        """Whether settings point this service at a server that is not the stack's.

        Settings that do not exist yet do not; Postgres is the stack's own as long as either
        database is on it, or the embedded Airbyte's.
        """
        if service == "postgres":
            databases = (self.is_external_database(one) for one in ("DAGSTER_PG", "WAREHOUSE"))
            return all(databases) and self.is_external("airbyte")
        return any(self.is_set_by_user(name) for name in ADDRESSES[service])

    def is_external_database(self, prefix: str) -> bool:
        """Whether ``<PREFIX>_HOST`` and ``_PORT`` name a server that is not the stack's."""
        return any(self.is_set_by_user(f"{prefix}_{part}") for part in ("HOST", "PORT"))

    def is_set_by_user(self, name: str) -> bool:
        """Whether someone has given a derived setting a value of their own."""
        value = self.settings().get(name)
        return value is not None and value != self._remembered().get(name)

    def settings(self) -> dict[str, str]:
        """Every setting, the real environment's word over the file's; empty ones left out."""
        return {name: value for name, value in {**self._read(), **self._real}.items() if value}

    def port(self, service: str) -> int:
        """The port that the stack's own server of this kind listens on."""
        name = f"DEVSTACK_{service.upper()}_PORT"
        text = self.settings().get(name, str(DEFAULT_PORTS[service]))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
            raise DevstackError(f"{name} is {text!r}; it must be a port, from 1 to 65535.")
        return int(text)

    def stars_file(self) -> Path | None:
        """The file that ``DEVSTACK_STARS`` names, relative to the checkout; None without one."""
        text = self.settings().get("DEVSTACK_STARS")
        return self._root / Path(text).expanduser() if text else None

    def _has(self, values: Mapping[str, str], name: str) -> bool:
        return bool(values.get(name) or self._real.get(name))

    def _read(self) -> dict[str, str]:
        try:
            values = dotenv_values(self._file, interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            raise DevstackError(f"{self._file} cannot be read: {error}") from error
        return {name: value or "" for name, value in values.items()}

    def _write(self, current: Mapping[str, str], changes: Mapping[str, str]) -> None:
        """Put changed values in their lines and new ones at the end; leave all else as it is."""
        try:
            if not changes and self._file.exists():
                self._file.chmod(0o600)
                return
            text = self._file.read_text() if self._file.exists() else HEADER
            lines = text.splitlines()
            for name, value in changes.items():
                line = f"{name}={value}"
                places = [at for at, old in enumerate(lines) if _name_in(old) == name]
                if name in current and places:
                    # Of several lines the last one counts.
                    lines[places[-1]] = line
                else:
                    lines.append(line)
            write_private(self._file, "\n".join(lines) + "\n")
        except OSError as error:
            raise DevstackError(f"{self._file} cannot be written: {error.strerror}.") from error

    def _remembered(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._memory.read_text()))
        except (OSError, ValueError):
            return {}

    def _remember(self, memory: Mapping[str, str]) -> None:
        if memory != self._remembered():
            self._memory.parent.mkdir(exist_ok=True)
            write_private(self._memory, json.dumps(memory, indent=1, sort_keys=True) + "\n")


def _name_in(line: str) -> str:
    """The name that a line of ``.env`` sets; empty when it sets none."""
    name, equals, _ = line.strip().removeprefix("export ").partition("=")
    return name.strip() if equals and not name.startswith("#") else ""
