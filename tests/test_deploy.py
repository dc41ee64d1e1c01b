"""What serves the locations one by one: `deploy/serve` and `deploy/workspace.yaml`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from snapshots import deployed
from support.dagster import HOST_BIN, LOCATIONS, ROOT, CodeLocation, free_port
from support.processes import Daemon, Job, await_port
from support.waiting import wait_until

SERVE = ROOT / "deploy" / "serve"
READY = ROOT / "deploy" / "ready"


def test_serve_serves_a_location_until_sigterm_also_as_a_job_of_a_script(tmp_path: Path) -> None:
    port = str(free_port())
    server = Job([SERVE, "ingestion", port], cwd=tmp_path, env=os.environ, log=tmp_path / "log")
    try:
        ready("ingestion", port)
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not server.is_running(), "the server has ended", seconds=30)
        wait_until(lambda: not server.members(), "its processes have ended", seconds=30)
    finally:
        server.kill()


def test_serve_refuses_a_port_that_another_server_has_just_taken(tmp_path: Path) -> None:
    """The first has not loaded its code yet, so nothing listens on the port."""
    port = str(free_port())
    servers = [
        Daemon(
            [SERVE, "ingestion", port],
            cwd=tmp_path,
            env=os.environ,
            log=tmp_path / f"log-{number}",
        )
        for number in range(2)
    ]
    try:
        wait_until(lambda: sum(s.is_running() for s in servers) == 1, "one has ended", seconds=60)
        (loser,) = (server for server in servers if not server.is_running())
        ready("ingestion", port)
    finally:
        for server in servers:
            server.kill()

    assert f"ingestion: port {port} of 127.0.0.1 cannot be used" in loser.output()
    assert "deploy/workspace.yaml" in loser.output()


def test_serve_serves_a_port_again_right_after_a_server_that_was_in_use(tmp_path: Path) -> None:
    port = str(free_port())
    for number in range(2):
        log = tmp_path / f"log-{number}"
        server = Daemon([SERVE, "ingestion", port], cwd=tmp_path, env=os.environ, log=log)
        try:
            ready("ingestion", port)
        finally:
            server.kill()


def test_ready_says_that_code_does_not_load(tmp_path: Path) -> None:
    """A proxy opens its port in any case."""
    port = free_port()
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('there is no model')")
    location = CodeLocation("broken", HOST_BIN / "python", broken, port)
    server = location.serve(cwd=tmp_path, env=os.environ)
    try:
        await_port(server, port, seconds=60)
        said = run([READY, "ingestion", str(port)])
    finally:
        server.kill()

    assert 1 == said.returncode
    assert "there is no model" in said.stderr


def ready(location: str, port: str) -> None:
    """Wait until the location is ready; fail with the reason if it is not."""
    said = run([READY, location, port])
    assert 0 == said.returncode, said.stderr


def run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: deploy/serve LOCATION PORT"),
        (("nobody", "4001"), "tools/setup.py nobody"),
        (("ingestion", "http"), "http is no port. Choose a number: deploy/serve ingestion 4001"),
    ],
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
