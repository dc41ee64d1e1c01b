"""The command `devstack`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from devstack.errors import DevstackError
from devstack.kernel import die_with_parent
from devstack.serve_commands import serve
from devstack.stack.stack import Stack

app = typer.Typer(
    help="Postgres, an Airbyte, a GitHub and a broker of your own, on loopback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(serve, name="serve")

# The package is installed as a link to its source, in the checkout that it belongs to.
CHECKOUT = Path(__file__).resolve().parents[3]
Root = Annotated[
    Path, typer.Option("--root", envvar="DEVSTACK_ROOT", help="The checkout it works for.")
]


@app.command()
def up(root: Root = CHECKOUT) -> None:
    """Start everything in the background; change nothing if it runs already."""
    _stack(root).up()


@app.command()
def down(root: Root = CHECKOUT) -> None:
    """Stop everything."""
    _stack(root).down()


@app.command()
def status(root: Root = CHECKOUT) -> None:
    """Show what runs where; exit with 1 unless everything runs."""
    from rich.console import Console
    from rich.table import Table

    rows = _stack(root).status()
    table = Table("service", "state", "where", "pid", "log", box=None)
    for row in rows:
        here = row.log.removeprefix(f"{Path.cwd()}/")
        table.add_row(row.service, row.state, row.where, row.pid, here)
    # Wide enough for every column when the output goes into a file.
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
    if any(row.state not in ("running", "external") for row in rows):
        raise typer.Exit(1)


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: Root = CHECKOUT,
) -> None:
    """Stop everything and delete its data."""
    if not yes:
        typer.confirm(f"Delete all data in {root / '.local'}?", abort=True)
    _stack(root).reset()


@app.command(context_settings={"ignore_unknown_options": True})
def run(
    command: Annotated[list[str], typer.Argument(help="After --: what to run.")],
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when the process that runs this is killed.")
    ] = False,
    root: Root = CHECKOUT,
) -> None:
    """Start everything, run a command with the settings of .env, then stop everything."""
    from devstack.stack.foreground import run_with_stack

    if with_parent:
        die_with_parent(signal.SIGTERM)
    raise typer.Exit(run_with_stack(_stack(root, tied=True), command))


def _stack(root: Path, *, tied: bool = False) -> Stack:
    return Stack(root.resolve(), lambda line: print(f"devstack: {line}", flush=True), tied=tied)


def main() -> None:
    """Run the command. What the user can put right is shown as a message, not as a traceback."""
    # PGOPTIONS, PGSSLMODE and the like were set for the clients of another Postgres, not of ours.
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    try:
        app()
    except DevstackError as error:
        print(f"devstack: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
