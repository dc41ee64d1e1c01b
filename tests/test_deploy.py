"""What serves the locations one by one: `deploy/serve` and `deploy/workspace.yaml`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml
from snapshots import deployed
from support.dagster import LOCATIONS, ROOT, free_port
from support.processes import Daemon, await_port
from support.waiting import wait_until

SERVE = ROOT / "deploy" / "serve"


def test_serve_serves_a_location_until_sigterm(tmp_path: Path) -> None:
    port = free_port()
    server = Daemon(
        [SERVE, "ingestion", str(port)], cwd=tmp_path, env=os.environ, log=tmp_path / "log"
    )
    try:
        await_port(server, port, seconds=60)
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not server.is_running(), "the server has ended", seconds=30)
        wait_until(lambda: not server.members(), "its processes have ended", seconds=30)
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "usage: deploy/serve LOCATION PORT"), (("nobody", "4001"), "tools/setup.py nobody")],
)
def test_serve_explains_a_wrong_call(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    server = Daemon([SERVE, *arguments], cwd=tmp_path, env=os.environ, log=tmp_path / "log")

    wait_until(lambda: not server.is_running(), "it has ended", seconds=30)

    assert message in server.output()


def test_the_deployed_workspace_is_up_to_date() -> None:
    text = (ROOT / "deploy" / "workspace.yaml").read_text(encoding="utf-8")

    assert deployed(text, LOCATIONS) == text, "make snapshots"
    assert LOCATIONS == [
        entry["grpc_server"]["location_name"] for entry in yaml.safe_load(text)["load_from"]
    ]


def test_a_new_location_gets_the_next_port_and_the_others_keep_theirs() -> None:
    before = """# Ports.
load_from:
  - grpc_server: { location_name: core, host: 10.0.0.7, port: 4007 }
  - grpc_server: { location_name: gone, host: 127.0.0.1, port: 4008 }
"""

    assert """# Ports.
load_from:
  - grpc_server: { location_name: growth, host: 127.0.0.1, port: 4009 }
  - grpc_server: { location_name: core, host: 10.0.0.7, port: 4007 }
""" == deployed(before, ["growth", "core"])
