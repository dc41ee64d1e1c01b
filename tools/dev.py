"""Run `dagster dev` over the workspace: what `make dev` starts inside `devstack run`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
HOST = "127.0.0.1"
PORT = os.environ.get("DAGSTER_PORT", "3000")
STARTUP_SECONDS = 180
# `dg dev`, which Dagster recommends instead, wants a workspace of `dg` projects.
QUIET = "ignore:Function `dev_command` is superseded"


def main() -> int:
    refuse_two_opinions()
    refuse_a_bad_port()
    warnings = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), QUIET]))
    environment = {**os.environ, "DAGSTER_HOME": str(ROOT), "PYTHONWARNINGS": warnings}
    limits = [sys.executable, ROOT / "tools" / "limits.py"]
    subprocess.run(limits, env=environment, check=True)
    command = [BIN / "dagster", "dev", "-w", "workspace.yaml", "-h", HOST, "-p", PORT]
    # Its warnings are enough here: every tick is in the UI.
    command += ["--log-level", "warning", "--code-server-log-level", "warning"]
    dagster = subprocess.Popen(command, cwd=ROOT, env=environment)
    signal.signal(signal.SIGTERM, lambda *_: dagster.send_signal(signal.SIGINT))
    threading.Thread(target=announce, args=(dagster,), daemon=True).start()
    while True:
        try:
            return dagster.wait()
        except KeyboardInterrupt:
            continue  # the terminal has told dagster as well; wait for it to stop


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


def refuse_two_opinions() -> None:
    """Dagster lays `.env` over the environment; to everything else the environment comes first.

    A setting that says two things would have one half of the workspace talk to one server and
    the other half to another. The stack's own settings are nothing to Dagster.
    """
    file = dotenv_values(ROOT / ".env", interpolate=False)
    names = [
        name
        for name, value in file.items()
        if not name.startswith("DEVSTACK_") and os.environ.get(name, value) != value
    ]
    if names:
        sys.exit(
            f"{', '.join(names)}: the environment says something else than .env, which Dagster "
            "would believe. Write what you mean into .env, and unset it outside."
        )


def announce(dagster: subprocess.Popen[bytes]) -> None:
    """Say where the UI is, once it answers."""
    url = f"http://{HOST}:{PORT}"
    deadline = time.monotonic() + STARTUP_SECONDS
    while dagster.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=2):  # noqa: S310 (loopback)
                print(
                    f"\n  The lineage:  {url}/asset-groups\n"
                    f"  What runs:    {url}/runs\n"
                    "  Schedule and sensors are on: the first rows reach mart_gh_join in a minute"
                    " or two.\n  Ctrl-C stops everything.\n",
                    flush=True,
                )
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
