"""``freshline serve`` and ``freshline ready``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from freshline.cli.options import workspace_options
from freshline.errors import NotReadyError
from freshline.workspace.source import WorkspaceSource

__all__ = ["ready_command", "serve_command"]

_Location = Annotated[str, typer.Argument(help="The code location.")]
_Port = Annotated[int, typer.Option(help="The port of its code server.", min=1, max=65535)]
_Host = Annotated[
    str, typer.Option(envvar="FRESHLINE_HOST", help="The address on which it listens.")
]


@workspace_options
def serve_command(
    workspace: WorkspaceSource,
    location: Annotated[str, typer.Argument(help="The code location. With -m or -f, its name.")],
    port: _Port,
    host: _Host = "127.0.0.1",
) -> None:
    """Serve a code location over gRPC, and keep its server going.

    The command holds the port, and passes each connection to the server that serves. A server that
    dies is replaced. `freshline deploy` puts another release in its place. On SIGTERM or SIGINT the
    command ends, with all that it has started.

    There is no password and no encryption: who can reach the port can run the location's code.
    """
    from freshline.serving.code_server import CodeServers
    from freshline.serving.port import Port
    from freshline.serving.releases import entries_here
    from freshline.serving.supervisor import supervise

    entries = entries_here(workspace, [location])
    with Port(host, port) as listening, TemporaryDirectory(prefix="freshline-") as folder:
        supervise(
            CodeServers(listening, Path(folder)),
            workspace,
            entries,
            lambda line: typer.echo(f"freshline serve: {line}", err=True),
        )


def ready_command(
    location: _Location,
    port: _Port,
    host: _Host = "127.0.0.1",
    seconds: Annotated[
        float, typer.Option(help="How long to wait; Dagster gives a location as long.", min=1.0)
    ] = 180.0,
) -> None:
    """Wait until the code server of a location has loaded its definitions.

    Exit status: 0 it has, 1 it does not answer in time, or its code does not load.
    """
    from freshline.serving.readiness import address_of, await_server

    try:
        answer = await_server(address_of(host, port), seconds)
    except NotReadyError as error:
        typer.echo(f"freshline: {location} is not ready: {error}.", err=True)
        raise typer.Exit(1) from None
    if answer.load_error:
        typer.echo(
            f"freshline: {location} runs on port {port}, but its code does not load:\n"
            f"{answer.load_error}",
            err=True,
        )
        raise typer.Exit(1)
