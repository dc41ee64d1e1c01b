"""`tools/code_servers.py`, against `dagster dev` on a small workspace."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from code_servers import CodeServers, WebserverError
from support.dagster import HOST_BIN, GraphQL, free_port
from support.processes import Daemon
from support.waiting import wait_until

CODE = "import dagster as dg\ndefs = dg.Definitions(assets=[])\n"
# Python imports this when it starts. A server with the code dies as often as the file says.
DIES_AT_THE_START = """
import os, pathlib, signal, sys
if "grpc" in sys.orig_argv:
    file = pathlib.Path(__file__).with_name("deaths")
    left = int(file.read_text())
    file.write_text(str(max(left - 1, 0)))
    if left:
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Small:
    """`dagster dev` on one location, `shop`, and what `CodeServers` says about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file("shop.py", CODE)
        self.file("sitecustomize.py", DIES_AT_THE_START)
        self.file("deaths", "0")
        self.file("dagster.yaml", "telemetry: {enabled: false}\n")
        entry = {"python_file": {"relative_path": "shop.py", "location_name": "shop"}}
        self.file("workspace.yaml", yaml.safe_dump({"load_from": [entry]}))
        port = str(free_port())
        self.dagster = Daemon(
            [HOST_BIN / "dagster", "dev", "-w", "workspace.yaml", "-p", port, "-h", "127.0.0.1"],
            cwd=root,
            env={**os.environ, "DAGSTER_HOME": str(root), "PYTHONPATH": str(root)},
            log=root / "dagster.log",
        )
        self.graphql = GraphQL(f"http://127.0.0.1:{port}")
        self.said: list[str] = []
        self.servers = CodeServers(self.graphql.url, self.said.append)

    def file(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def kill_server(self) -> None:
        (server,) = (
            pid
            for pid in self.dagster.members()
            if b"\0grpc\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(server, signal.SIGKILL)

    def await_said(self, lines: int) -> None:
        """Look for dead servers until as many lines were said since the start."""

        def said() -> bool:
            assert self.dagster.is_running(), self.dagster.output()[-5000:]
            self.servers.revive()
            return len(self.said) >= lines

        wait_until(said, f"{lines} lines", seconds=120)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    small = Small(tmp_path_factory.mktemp("small"))
    try:
        wait_until(small.graphql.is_up, "the webserver answers", seconds=120)
        yield small
    finally:
        small.dagster.kill()


def test_a_server_whose_successor_dies_too_is_replaced_by_a_later_one(small: Small) -> None:
    small.said.clear()
    small.file("deaths", "1")
    small.kill_server()
    small.await_said(2)

    assert [
        "the code server of shop does not answer, nor does a new one; trying again",
        "the code server of shop no longer answered; a new one runs",
    ] == small.said
    assert {"shop": "LOADED"} == small.graphql.locations()


def test_code_that_does_not_load_is_left_to_its_author(small: Small) -> None:
    small.said.clear()
    small.file("shop.py", "raise ValueError('half a sentence')\n")
    small.kill_server()
    small.await_said(1)
    before = small.dagster.members()
    small.servers.revive()
    after = small.dagster.members()
    small.file("shop.py", CODE)
    small.graphql.reload("shop")

    assert len(small.said) == 1
    assert "a new one runs, but its code does not load: " in small.said[0]
    assert before == after


def test_a_webserver_that_does_not_answer_is_an_error() -> None:
    servers = CodeServers(f"http://127.0.0.1:{free_port()}", print)

    with pytest.raises(WebserverError, match="refused"):
        servers.revive()
