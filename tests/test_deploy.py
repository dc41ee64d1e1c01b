"""`deploy/serve`: one code location as one supervised process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml
from support.dagster import ROOT, free_port
from support.processes import Daemon, await_port
from support.waiting import wait_until

SERVE = ROOT / "deploy" / "serve"


def test_it_serves_a_location_and_ends_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    server = Daemon(
        [SERVE, "ingestion", str(port)], cwd=tmp_path, env=os.environ, log=tmp_path / "log"
    )
    try:
        await_port(server, port, seconds=60)
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not server.is_running(), "it ends on SIGTERM", seconds=30)
        wait_until(lambda: not server.members(), "nothing of it is left", seconds=30)
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "usage: deploy/serve LOCATION PORT"), (("nobody", "4001"), "tools/setup.py nobody")],
)
def test_a_wrong_call_says_what_is_right(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    server = Daemon([SERVE, *arguments], cwd=tmp_path, env=os.environ, log=tmp_path / "log")

    wait_until(lambda: not server.is_running(), "it gives up", seconds=30)

    assert message in server.output()


def test_the_deployed_workspace_has_the_same_locations() -> None:
    here = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    deployed = yaml.safe_load((ROOT / "deploy" / "workspace.yaml").read_text())["load_from"]

    assert [entry["python_module"]["location_name"] for entry in here] == [
        entry["grpc_server"]["location_name"] for entry in deployed
    ]
