"""The workers of a checkout's code locations, which `devstack up` starts."""

from __future__ import annotations

import json

import psutil
import pytest
from checkout import Checkout
from devstack.processes import is_running
from helpers import until

CODE = "import dagster as dg\n\ndefs = dg.Definitions()\n"


def write_workspace(checkout: Checkout, *locations: str) -> None:
    """Let the workspace have the code of these locations."""
    entries = []
    for name in locations:
        (checkout.root / f"{name}.py").write_text(CODE)
        entries.append({"python_file": {"relative_path": f"{name}.py", "location_name": name}})
    (checkout.root / "workspace.yaml").write_text(json.dumps({"load_from": entries}))


def served(checkout: Checkout) -> set[str]:
    """Return the locations for which a worker runs."""
    found = set()
    for process in psutil.Process(checkout.pid("workers")).children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if "freshline.engine.worker" in command:
            found.add(json.loads(command[-1])["location"])
    return found


def test_a_new_location_has_workers_after_the_next_up(checkout: Checkout) -> None:
    write_workspace(checkout, "land")
    checkout.run("up")
    before = psutil.Process(checkout.pid("workers"))
    assert until(lambda: served(checkout)) == {"land"}
    assert "workers: already running" in checkout.run("up")

    write_workspace(checkout, "land", "core")
    assert "workers: started" in checkout.run("up")

    assert not is_running(before)
    until(lambda: served(checkout) == {"land", "core"})


def test_there_are_none_where_the_workspace_names_code_servers_alone(checkout: Checkout) -> None:
    write_workspace(checkout, "land")
    checkout.run("up")
    server = {"location_name": "land", "host": "127.0.0.1", "port": 1}
    workspace = {"load_from": [{"grpc_server": server}]}
    (checkout.root / "workspace.yaml").write_text(json.dumps(workspace))
    workers = psutil.Process(checkout.pid("workers"))

    checkout.run("up")

    assert not is_running(workers)
    assert "workers" not in checkout.states()


@pytest.mark.parametrize("content", [None, "load_from: []\n"], ids=["no workspace", "no location"])
def test_the_stack_stops_workers_that_nothing_names_any_more(
    checkout: Checkout, content: str | None
) -> None:
    write_workspace(checkout, "land")
    checkout.run("up")
    assert until(lambda: served(checkout)) == {"land"}  # they have read the workspace
    file = checkout.root / "workspace.yaml"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)

    assert "workers: stopped" in checkout.run("down")
