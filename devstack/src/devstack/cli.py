"""The command ``devstack``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from devstack.errors import DevstackError

app = typer.Typer(
    help="Postgres, an Airbyte and a GitHub of your own, on loopback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
serve = typer.Typer(help="One server in the foreground.", no_args_is_help=True)
app.add_typer(serve, name="serve")

Port = Annotated[int, typer.Option(min=0, max=65535, help="TCP port on loopback; 0: any free one.")]
WithParent = Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")]


@serve.command("postgres")
def serve_postgres(
    data: Annotated[Path, typer.Option(help="Data directory; made when missing, kept after.")],
    port: Port = 0,
    throwaway: Annotated[
        bool, typer.Option("--throwaway", help="For tests: faster, unsafe, deleted at the end.")
    ] = False,
    with_parent: WithParent = False,
) -> None:
    """Serve Postgres until told to stop."""
    from devstack.postgres import PostgresServer
    from devstack.serving import StopSignal, announce

    stop = StopSignal(with_parent=with_parent)
    with PostgresServer(data, port=port, throwaway=throwaway) as server:
        address = server.address
        announce(
            {
                "host": address.host,
                "port": address.port,
                "user": address.user,
                "password": address.password,
                "database": address.database,
            }
        )
        stop.watch(server.wait)
        stop.wait()
        if server.wait(0) is not None:
            raise DevstackError(f"postgres ended by itself:\n{server.log_tail()}")


def main() -> None:
    """Run the command; what the user can put right is a message, not a traceback."""
    try:
        app()
    except DevstackError as error:
        print(f"devstack: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
