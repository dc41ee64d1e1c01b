"""The settings in `.env`: made at the first start, readable by the owner alone, never printed.

Passwords and tokens are made once and kept. The settings that name the stack's own servers (hosts,
ports, URLs, the repository that is served) are *derived* from the `DEVSTACK_*` settings and written
at each start. If a derived setting differs from what the stack wrote last, the user has changed it:
it names a server of the user's own. Then it stays as it is, and the stack does not start its own.

The broker's password is in its address, `FRESHLINE_BROKER_URL`, and nowhere else: clients need no
other setting.

The real environment has precedence over the file, here and in every command of the workspace except
`dagster dev`, which gives precedence to the file. So write settings into the file.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from dotenv import dotenv_values

from devstack.errors import DevstackError
from devstack.files import write_private
from devstack.github.quiet import QuietHours
from devstack.ports import LOOPBACK
from devstack.stack.locations import password_variable, read_locations, user_variable

HEADER = (
    "# Written by `devstack up`. Not tracked; readable by you alone. Passwords, once made, stay.\n"
    "# To use a server of your own, change its address below: the stack then starts none.\n"
    "# Optional: DEVSTACK_STARS (CSV of star events), DEVSTACK_QUIET (hours without new stars),\n"
    "# DEVSTACK_POSTGRES_PORT, DEVSTACK_AIRBYTE_PORT, DEVSTACK_GITHUB_PORT, DEVSTACK_BROKER_PORT,\n"
    "# AIRBYTE_WORKSPACE_ID.\n"
)
DEFAULT_PORTS = {"postgres": 15432, "airbyte": 18000, "github": 18080, "broker": 16379}
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
# The derived settings that say where a service is.
ADDRESSES = {
    "postgres": ("DAGSTER_PG_HOST", "DAGSTER_PG_PORT", "WAREHOUSE_HOST", "WAREHOUSE_PORT"),
    "airbyte": ("AIRBYTE_URL",),
    "github": ("GITHUB_API_URL",),
    "broker": ("FRESHLINE_BROKER_URL",),
}
_BROKER_ADDRESS = re.compile(rf"redis://:(?P<password>[^:@/]+)@{re.escape(LOOPBACK)}:\d+/0")


class Environment:
    """The settings of the checkout `root`, in its `.env`; `real` is the real environment."""

    def __init__(self, root: Path, real: Mapping[str, str] | None = None) -> None:
        self._file = root / ".env"
        self._memory = root / ".local" / "derived.json"
        self._real = dict(os.environ if real is None else real)
        self._root = root

    def prepare(self) -> None:
        """Make `.env`, or add what it lacks, and bring derived addresses up to date.

        Raises `DevstackError` when a port is not valid or a file cannot be read or written.
        """
        values = self._read()
        additions = {name: value for name, value in FIXED.items() if not self._has(values, name)}
        # An Airbyte of the user's own needs none: it has its own clients, or users with passwords.
        external = self.is_external("airbyte")
        additions |= {
            name: secrets.token_urlsafe(24)
            for name in GENERATED
            if not self._has(values, name) and not (external and name.startswith("AIRBYTE_"))
        }
        if not self.is_external_database("WAREHOUSE"):
            additions |= {
                name: secrets.token_urlsafe(24)
                for name in map(password_variable, read_locations(self._root))
                if not self._has(values, name)
            }
        self._write(values, additions)
        derived = self._accounts()
        for service in DEFAULT_PORTS:
            port = str(self.port(service))
            for name in ADDRESSES[service]:
                if service == "broker":
                    derived |= self._broker_address(name)
                elif name.endswith("_URL"):
                    derived[name] = f"http://{LOOPBACK}:{port}"
                else:
                    derived[name] = LOOPBACK if name.endswith("_HOST") else port
        self.derive(derived)

    def _accounts(self) -> dict[str, str]:
        """Return the role of each code location in the warehouse, by variable.

        If the warehouse is the user's own, those that the stack wrote before are emptied:
        `WAREHOUSE_USER` is for all locations then, unless the user gives them roles.
        """
        roles = {user_variable(name): name for name in read_locations(self._root)}
        if self.is_external_database("WAREHOUSE"):
            return dict.fromkeys(roles.keys() & self._read().keys(), "")
        return roles

    def passwords(self) -> dict[str, str]:
        """Return the passwords of those locations that have the stack's role, by role.

        A location that the user has given another role is left out.
        """
        settings = self.settings()
        return {
            name: settings[password_variable(name)]
            for name in read_locations(self._root)
            if settings.get(user_variable(name)) == name and password_variable(name) in settings
        }

    def derive(self, values: Mapping[str, str]) -> None:
        """Write derived settings, except those that the user has changed."""
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
        """Return whether the settings name a server of the user's own for this service.

        False before the settings exist. For Postgres, true only if the stack's server would have no
        database: neither one of the two in the settings nor that of the embedded Airbyte.
        """
        if service == "postgres":
            databases = (self.is_external_database(one) for one in ("DAGSTER_PG", "WAREHOUSE"))
            return all(databases) and self.is_external("airbyte")
        return any(self.is_set_by_user(name) for name in ADDRESSES[service])

    def is_external_database(self, prefix: str) -> bool:
        """Return whether `<PREFIX>_HOST` or `<PREFIX>_PORT` names a server of the user's own."""
        return any(self.is_set_by_user(f"{prefix}_{part}") for part in ("HOST", "PORT"))

    def is_set_by_user(self, name: str) -> bool:
        """Return whether the user has given a derived setting another value."""
        value = self.settings().get(name)
        return value is not None and value != self._remembered().get(name)

    def settings(self) -> dict[str, str]:
        """Return every setting that is not empty; the real environment has precedence."""
        return {name: value for name, value in {**self._read(), **self._real}.items() if value}

    def port(self, service: str) -> int:
        """Return the port of the stack's own server. Raises `DevstackError` if it is not valid."""
        name = f"DEVSTACK_{service.upper()}_PORT"
        text = self.settings().get(name, str(DEFAULT_PORTS[service]))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
            raise DevstackError(f"{name} is {text!r}; it must be a port, from 1 to 65535.")
        return int(text)

    def broker_password(self) -> str:
        """Return the password in the broker's address.

        It is empty before the settings exist, and if the address cannot be the stack's own.
        """
        (name,) = ADDRESSES["broker"]
        address = _BROKER_ADDRESS.fullmatch(self.settings().get(name, ""))
        return unquote(address["password"]) if address else ""

    def stars_file(self) -> Path | None:
        """Return the file in `DEVSTACK_STARS`, relative to the checkout; None if it is not set."""
        text = self.settings().get("DEVSTACK_STARS")
        return self._root / Path(text).expanduser() if text else None

    def quiet_hours(self) -> str | None:
        """Return `DEVSTACK_QUIET`: the hours without new stars; None if it is not set.

        Raises `DevstackError` if it names no hours, or if the stars come from a file, which has
        none that could be left out.
        """
        text = self.settings().get("DEVSTACK_QUIET")
        if text is None:
            return None
        if self.stars_file() is not None:
            raise DevstackError(
                "DEVSTACK_QUIET is for the live stream; it changes nothing in the file that "
                "DEVSTACK_STARS names. Unset one of them."
            )
        QuietHours.parse(text)
        return text

    def _broker_address(self, name: str) -> dict[str, str]:
        """Return the address of the stack's own broker by `name`; nothing if it has none."""
        known = self.broker_password()
        if not known and name in self.settings():
            return {}
        password = quote(known or secrets.token_urlsafe(24), safe="")
        return {name: f"redis://:{password}@{LOOPBACK}:{self.port('broker')}/0"}

    def _has(self, values: Mapping[str, str], name: str) -> bool:
        return bool(values.get(name) or self._real.get(name))

    def _read(self) -> dict[str, str]:
        try:
            values = dotenv_values(self._file, interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            raise DevstackError(f"{self._file} cannot be read: {error}") from error
        return {name: value or "" for name, value in values.items()}

    def _write(self, current: Mapping[str, str], changes: Mapping[str, str]) -> None:
        """Write changed values into their lines and new ones to the end; keep all other lines."""
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
                    # If several lines set the name, the last one counts.
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
    """Return the name that a line of `.env` sets; an empty text if it sets none."""
    name, equals, _ = line.strip().removeprefix("export ").partition("=")
    return name.strip() if equals and not name.startswith("#") else ""
