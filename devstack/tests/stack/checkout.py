"""A checkout with a stack of its own, driven through the command `devstack`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import httpx
import psycopg
import valkey
from dotenv import dotenv_values
from helpers import DEVSTACK, ReservedPort, command_lines_with


class Checkout:
    """A checkout with ports of its own; its Airbyte is elsewhere, unless `airbyte` is true."""

    def __init__(self, root: Path, *, airbyte: bool = False) -> None:
        self.root = root
        self._reserved = {
            name: ReservedPort() for name in ("postgres", "github", "airbyte", "broker")
        }
        self.ports = {name: port.number for name, port in self._reserved.items()}
        self.variables = {f"DEVSTACK_{name.upper()}_PORT": str(p) for name, p in self.ports.items()}
        # Put before each command, to run it as another user.
        self.prefix: list[str] = []
        if not airbyte:
            self.variables["AIRBYTE_URL"] = "http://airbyte.invalid"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "COLUMNS": "300", **self.variables}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(DEVSTACK), *arguments]
        if arguments[0] == "run":
            command[2:2] = ["--root", str(self.root)]
        else:
            command += ["--root", str(self.root)]
        return subprocess.Popen(
            [*self.prefix, *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run a command and return its output; fail when its exit code is not `code`."""
        process = self.start(*arguments)
        output = process.communicate(timeout=180)[0]
        assert code is None or process.returncode == code, output
        return output

    def settings(self) -> dict[str, str]:
        return {name: value or "" for name, value in dotenv_values(self.root / ".env").items()}

    def connect(self, prefix: str = "WAREHOUSE") -> psycopg.Connection[tuple[object, ...]]:
        values = self.settings()
        return psycopg.connect(
            host=values[f"{prefix}_HOST"],
            port=values[f"{prefix}_PORT"],
            user=values[f"{prefix}_USER"],
            password=values[f"{prefix}_PASSWORD"],
            dbname=values[f"{prefix}_DATABASE"],
        )

    def query(self, sql: str, prefix: str = "WAREHOUSE") -> object:
        with self.connect(prefix) as connection:
            cursor = connection.execute(sql.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def broker(self) -> valkey.Valkey:
        url = self.settings()["FRESHLINE_BROKER_URL"]
        return valkey.Valkey.from_url(url, decode_responses=True)

    def get(self, path: str) -> httpx.Response:
        values = self.settings()
        headers = {"Authorization": f"token {values['GITHUB_TOKEN']}"}
        return httpx.get(f"{values['GITHUB_API_URL']}{path}", headers=headers)

    def pid(self, name: str) -> int:
        record = self.root / ".local" / "run" / f"{name}.json"
        return int(json.loads(record.read_text())["pid"])

    def logs(self) -> str:
        """Return the logs of all services, one after the other."""
        return "".join(path.read_text() for path in (self.root / ".local" / "log").iterdir())

    def records(self) -> str:
        """Return the records of all services, one after the other."""
        return "".join(path.read_text() for path in (self.root / ".local" / "run").iterdir())

    def states(self) -> dict[str, str]:
        lines = self.run("status", code=None).splitlines()[1:]
        words = {line.split()[0]: line.strip() for line in lines if line.strip()}
        known = ("not answering", "running", "stopped", "ended", "external")
        return {name: next(k for k in known if k in line) for name, line in words.items()}

    def listening(self) -> list[str]:
        """Return the services on whose ports something listens."""
        found = []
        for name, port in self.ports.items():
            try:
                httpx.get(f"http://127.0.0.1:{port}")
            except httpx.ConnectError:
                continue
            except httpx.TransportError:
                pass
            found.append(name)
        return found

    def clean(self) -> None:
        self.run("down", code=None)
        for port in self._reserved.values():
            port.release()
        assert command_lines_with(str(self.root)) == []
