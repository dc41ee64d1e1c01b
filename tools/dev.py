"""Run `dagster dev` on the workspace: what `make dev` starts inside `devstack run`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import family
from code_servers import CodeServers
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
HOST = "127.0.0.1"
PORT = os.environ.get("DAGSTER_PORT", "3000")
URL = f"http://{HOST}:{PORT}"
STARTUP_SECONDS = 180
LOG: list[str | Path] = [BIN / "freshline", "log", "--follow", "--since", "0s"]
"""Prints a line when a run is requested, and one when it has ended."""
# Dagster recommends `dg dev`, which needs a workspace of `dg` projects.
IGNORED_WARNING = "ignore:Function `dev_command` is superseded"


def main() -> int:
    refuse_conflicting_settings()
    refuse_a_bad_port()
    requests = family.StopRequests()
    warnings = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), IGNORED_WARNING]))
    environment = {**os.environ, "DAGSTER_HOME": str(ROOT), "PYTHONWARNINGS": warnings}
    limits: list[str | Path] = [sys.executable, ROOT / "tools" / "limits.py"]
    done = subprocess.run(limits, env=environment, check=False)
    if requests.numbers:
        return 128 + requests.numbers[0]
    if done.returncode != 0:
        return done.returncode
    command: list[str | Path] = [BIN / "dagster", "dev", "-w", "workspace.yaml"]
    command += ["-h", HOST, "-p", PORT]
    # Warnings are enough here: the UI shows every tick, and the log below every run.
    command += ["--log-level", "warning", "--code-server-log-level", "warning"]
    dagster = family.start(command, cwd=ROOT, env=environment)
    log = family.start(LOG, cwd=ROOT, env=environment)
    servers = CodeServers(URL, lambda line: print(f"dev: {line}", flush=True))
    threading.Thread(target=announce, args=(dagster,), daemon=True).start()
    threading.Thread(target=servers.watch, daemon=True).start()
    try:
        return family.wait_for(dagster, requests)
    finally:
        family.end(log)


def refuse_a_bad_port() -> None:
    if not PORT.isdecimal() or not 0 < int(PORT) < 65536:
        sys.exit(f"DAGSTER_PORT={PORT} is no port. Choose a number: DAGSTER_PORT=3001 make dev")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(PORT)))
        except OSError as error:
            sys.exit(
                f"Port {PORT} cannot be used ({error.strerror}). Free it, or choose another: "
                "DAGSTER_PORT=3001 make dev"
            )


def refuse_conflicting_settings() -> None:
    """Exit if a variable has one value in `.env` and another in the environment.

    Dagster takes the value in `.env`, everything else the one in the environment: half of the
    workspace would use one server, half the other. Variables of the stack (`DEVSTACK_...`) may
    differ, because Dagster does not read them.
    """
    file = dotenv_values(ROOT / ".env", interpolate=False)
    names = [
        name
        for name, value in file.items()
        if not name.startswith("DEVSTACK_") and os.environ.get(name, value) != value
    ]
    if names:
        sys.exit(
            f"{', '.join(names)}: the environment and .env have different values, and Dagster "
            "would take those of .env. Write the right ones there; unset them in the environment."
        )


def announce(dagster: subprocess.Popen[bytes]) -> None:
    """Print the addresses of the UI as soon as it answers."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while dagster.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{URL}/server_info", timeout=2):  # noqa: S310 (loopback)
                print(
                    f"\n  The lineage:  {URL}/asset-groups\n"
                    f"  What runs:    {URL}/runs\n"
                    "  Schedule and sensors are on: the first rows reach mart_gh_join in a minute"
                    " or two.\n  How the marts stand, in another terminal: "
                    ".venv/bin/freshline status --watch\n  Ctrl-C stops everything.\n",
                    flush=True,
                )
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
