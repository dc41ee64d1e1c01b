"""``freshline worker``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from freshline.cli.options import workspace_options
from freshline.errors import CommandError
from freshline.workspace.source import WorkspaceSource

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
    from freshline.engine.workers import Workers
    from freshline.serving.releases import entries_here
    from freshline.serving.supervisor import supervise

    broker_url = os.environ.get("FRESHLINE_BROKER_URL")
    if not broker_url:
        raise CommandError(
            "FRESHLINE_BROKER_URL is not set; give it the address of the Valkey or Redis server, "
            "as in redis://:PASSWORD@HOST:6379/0."
        )
    supervise(
        Workers(broker_url, places, drain),
        workspace,
        entries_here(workspace, locations or ()),
        lambda line: typer.echo(f"freshline worker: {line}", err=True),
    )
