"""The embedded Airbyte as a server in the foreground."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import psycopg
import psycopg_pool

from devstack.airbyte.api import create_app
from devstack.airbyte.auth import Credentials, Gate
from devstack.airbyte.faults import Switchboard
from devstack.airbyte.jobs import JobRunner
from devstack.airbyte.registry import load_registry
from devstack.airbyte.store import Store
from devstack.errors import DevstackError
from devstack.http_server import serve_http
from devstack.ports import listening_socket
from devstack.serving import StopSignal, announce


def run(
    database_url: str,
    data: Path,
    port: int,
    *,
    with_parent: bool,
    faults: bool,
    internal_api: bool,
    connectors: Path | None,
) -> None:
    """Serve in the foreground, as `devstack.airbyte.serve` describes."""
    stop = StopSignal(with_parent=with_parent)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    logging.getLogger("psycopg.pool").setLevel("ERROR")
    registry = load_registry(connectors)
    data.mkdir(parents=True, exist_ok=True)
    os.umask(0o077)
    # Take the port before opening the database, because that fails all running jobs. If another
    # server has the port, those jobs are its own and must go on.
    listener = listening_socket(port, purpose="airbyte")
    store = Store(database_url)
    try:
        store.open()
    except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
        store.close()
        raise DevstackError(
            f"the database of the embedded Airbyte cannot be reached: {str(error).strip()}"
        ) from error
    credentials = Credentials.load(data)
    gate = Gate(credentials)
    switchboard = Switchboard(gate)
    runner = JobRunner(store, registry, switchboard, data)
    app = create_app(
        store, registry, gate, runner, switchboard, faults=faults, internal_api=internal_api
    )

    def ready(url: str) -> None:
        announce(
            {
                "url": url,
                "client_id": credentials.client_id,
                "client_secret": credentials.client_secret,
                "workspace_id": str(store.workspaces()[0].id),
            }
        )

    try:
        serve_http(app, listener, purpose="airbyte", stop=stop, ready=ready)
    finally:
        runner.stop()
        store.close()
