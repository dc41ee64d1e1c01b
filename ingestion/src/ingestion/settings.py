"""Where Airbyte and the warehouse are: read from the environment when a command or a run starts.

Nothing is read while the location loads. A `.env` in the current directory or above it supplies
the variables that the environment itself does not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values, find_dotenv

from ingestion.errors import SettingsError

__all__ = ["AirbyteSettings", "environment", "warehouse_conninfo"]

CLOUD_HOST = "api.airbyte.com"
_OWN_USER = "WAREHOUSE_USER_ingestion"
_OWN_PASSWORD = "WAREHOUSE_PASSWORD_ingestion"  # noqa: S105  (the name of a variable)


def environment() -> dict[str, str]:
    """Return the variables of `.env`, overridden by those of the process.

    This team's own role in the warehouse, if it has one, takes the place of the one that all teams
    share. Raise `SettingsError` if the role has no password.
    """
    found = dotenv_values(find_dotenv(usecwd=True))
    env = {k: v for k, v in found.items() if v is not None} | dict(os.environ)
    if env.get(_OWN_USER):
        env["WAREHOUSE_USER"] = env[_OWN_USER]
        env["WAREHOUSE_PASSWORD"] = require(env, _OWN_PASSWORD)
    return env


def require(env: Mapping[str, str], name: str) -> str:
    """Return the variable's value; raise `SettingsError` if it is unset or empty."""
    value = env.get(name, "")
    if not value:
        raise SettingsError(
            f"{name} is not set: export it, or put it into .env (`devstack up` writes one)"
        )
    return value


@dataclass(frozen=True)
class AirbyteSettings:
    """How to reach one Airbyte: self-hosted, Cloud or embedded."""

    url: str
    """Without the API's path: `https://airbyte.example.com`, `https://api.airbyte.com`."""
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    workspace_id: str | None = None
    """None stands for the only workspace that the credentials may see."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> AirbyteSettings:
        """Read the `AIRBYTE_*` variables.

        Raise `SettingsError` if there is no usable address, if one half of a pair of credentials
        is missing, or if both pairs are given.
        """
        url = require(env, "AIRBYTE_URL").rstrip("/")
        if not _is_http(url):
            raise SettingsError("AIRBYTE_URL must start with http:// or https:// and name a host")
        pairs = (
            ("AIRBYTE_CLIENT_ID", "AIRBYTE_CLIENT_SECRET"),
            ("AIRBYTE_USERNAME", "AIRBYTE_PASSWORD"),
        )
        for first, second in pairs:
            if bool(env.get(first)) != bool(env.get(second)):
                raise SettingsError(f"set both {first} and {second}, or neither")
        if env.get("AIRBYTE_CLIENT_ID") and env.get("AIRBYTE_USERNAME"):
            raise SettingsError("set AIRBYTE_CLIENT_ID or AIRBYTE_USERNAME, not both")
        return cls(
            url=url,
            client_id=env.get("AIRBYTE_CLIENT_ID") or None,
            client_secret=env.get("AIRBYTE_CLIENT_SECRET") or None,
            username=env.get("AIRBYTE_USERNAME") or None,
            password=env.get("AIRBYTE_PASSWORD") or None,
            workspace_id=env.get("AIRBYTE_WORKSPACE_ID") or None,
        )

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def public_url(self) -> str:
        """The base of the public API, which Airbyte Cloud has on a host of its own."""
        if self.host == CLOUD_HOST:
            return self.url if self.url.endswith("/v1") else f"{self.url}/v1"
        return f"{self.url}/api/public/v1"

    @property
    def internal_url(self) -> str:
        """The base of the internal API, which many servers no longer answer."""
        if self.host == CLOUD_HOST:
            return "https://cloud.airbyte.com/api/v1"
        return f"{self.url}/api/v1"

    @property
    def ui_url(self) -> str:
        return "https://cloud.airbyte.com" if self.host == CLOUD_HOST else self.url

    @property
    def credentials_advice(self) -> str:
        """What to check when Airbyte refuses the credentials."""
        if self.client_id:
            return "check AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"
        if self.username:
            return "check AIRBYTE_USERNAME and AIRBYTE_PASSWORD"
        return "none are set; set AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"

    @property
    def development(self) -> bool:
        """Whether this Airbyte runs on this machine, as the embedded one does.

        Such a server is polled every second, and each sync first applies the declaration to it.
        Any other server is changed by `ingestion apply` alone.
        """
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _is_http(url: str) -> bool:
    """Return whether `url` is an HTTP address with a host and, if it has a port, a valid one."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a valid port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def warehouse_conninfo(env: Mapping[str, str]) -> dict[str, Any]:
    """Return what `psycopg.connect` needs to reach the warehouse.

    Raise `SettingsError` if one of the `WAREHOUSE_*` variables is not set.
    """
    names = {
        "host": "WAREHOUSE_HOST",
        "port": "WAREHOUSE_PORT",
        "user": "WAREHOUSE_USER",
        "password": "WAREHOUSE_PASSWORD",
        "dbname": "WAREHOUSE_DATABASE",
    }
    given = {key: require(env, name) for key, name in names.items()}
    return {**given, "connect_timeout": 10}  # seconds
