"""``freshline``: the command line.

The commands read arguments and print results; the packages that they call compute the results.
Only this package imports typer.
"""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from dotenv import load_dotenv
from typer.core import TyperGroup

from freshline.cli.check import check_command
from freshline.cli.contract import (
    export_command,
    retire_command,
    show_command,
    write_command,
)
from freshline.cli.deploy import deploy_command
from freshline.cli.impact import impact_command
from freshline.cli.log import log_command
from freshline.cli.metrics import metrics_command
from freshline.cli.notify import notify_command
from freshline.cli.pause import pause_command, resume_command
from freshline.cli.report import keep_command, report_command
from freshline.cli.roles import roles_command
from freshline.cli.serve import ready_command, serve_command
from freshline.cli.simulate import simulate_command
from freshline.cli.sources import sources_command
from freshline.cli.status import status_command
from freshline.cli.worker import worker_command
from freshline.errors import FreshlineError

__all__ = ["app"]


class _Commands(TyperGroup):
    """Commands that end with one line and status 2 when they cannot run; 1 means findings."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FreshlineError as error:
            typer.echo(f"freshline: {error}", err=True)
            raise typer.Exit(2) from None


class _App(typer.Typer):
    """A command line that ends with a traceback and status 2 when a command breaks."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except Exception:  # noqa: BLE001  # whatever it is, it is not a finding
            traceback.print_exc()
            sys.exit(2)


app = _App(
    cls=_Commands,
    help="One lineage over many Dagster code locations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
contract_app = typer.Typer(help="What a location makes and needs.", no_args_is_help=True)
app.add_typer(contract_app, name="contract")
app.command("check")(check_command)
app.command("impact")(impact_command)
app.command("simulate")(simulate_command)
app.command("report")(report_command)
app.command("keep")(keep_command)
app.command("sources")(sources_command)
app.command("serve")(serve_command)
app.command("ready")(ready_command)
app.command("status")(status_command)
app.command("log")(log_command)
app.command("worker")(worker_command)
app.command("deploy")(deploy_command)
app.command("metrics")(metrics_command)
app.command("notify")(notify_command)
app.command("roles")(roles_command)
app.command("retire")(retire_command)
app.command("pause")(pause_command)
app.command("resume")(resume_command)
contract_app.command("write")(write_command)
contract_app.command("show")(show_command)
contract_app.command("export")(export_command)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"freshline {version('freshline')}, Dagster {version('dagster')}")
        raise typer.Exit


@app.callback()
def _settings(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the versions of freshline and of the Dagster beside it.",
        ),
    ] = False,
) -> None:
    """Settings of the workspace, such as where its instance is, come from ./.env as well."""
    # As in Dagster, its values win over those of the environment.
    load_dotenv(Path.cwd() / ".env", override=True)
