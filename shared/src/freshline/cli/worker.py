"""``freshline worker``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

import typer

from freshline.cli.options import workspace_options
from freshline.errors import CommandError
from freshline.workspace.source import WorkspaceSource, read_workspace

__all__ = ["worker_command"]


@workspace_options
def worker_command(
    workspace: WorkspaceSource,
    locations: Annotated[
        list[str] | None,
        typer.Argument(
            help="The locations to serve; all by default. With -m or -f, the name of that one."
        ),
    ] = None,
    places: Annotated[
        int, typer.Option(help="How many runs of a location are made at a time.", min=1)
    ] = 4,
    drain: Annotated[
        float | None,
        typer.Option(
            help="Seconds that runs have to end when the worker ends; no limit by default."
        ),
    ] = None,
) -> None:
    """Make the runs of code locations, in processes that have loaded them already.

    The broker is the server that FRESHLINE_BROKER_URL names (redis://:PASSWORD@HOST:PORT/0).
    """
    from freshline.engine.supervisor import Supervisor

    broker_url = os.environ.get("FRESHLINE_BROKER_URL")
    if not broker_url:
        raise CommandError(
            "FRESHLINE_BROKER_URL is not set; give it the address of the Valkey or Redis server, "
            "as in redis://:PASSWORD@HOST:6379/0."
        )
    names = locations or ()
    if not workspace.files and len(names) == 1:
        entries = [replace(entry, name=names[0]) for entry in read_workspace(workspace)]
    else:
        entries = read_workspace(workspace, names)
    elsewhere = [entry for entry in entries if entry.kind == "grpc_server"]
    if elsewhere and names:
        entry = elsewhere[0]
        raise CommandError(
            f"{entry.name} is a code server at {entry.target}, so its code is not named here; "
            f"write freshline worker {entry.name} -m MODULE where it is."
        )
    served = [entry for entry in entries if entry not in elsewhere]
    if not served:
        raise CommandError(f"{workspace} has no location whose code is here.")
    supervisor = Supervisor(
        served, broker_url, places, lambda line: typer.echo(f"freshline worker: {line}", err=True)
    )
    supervisor.run(drain)
