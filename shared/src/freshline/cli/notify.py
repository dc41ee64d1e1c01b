"""``freshline notify``: messages to the owners of assets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freshline.cli.extras import require_extra

__all__ = ["notify_command"]


def notify_command(
    settings: Annotated[
        Path,
        typer.Option("-c", "--config", help="The TOML file that says who is told, and where."),
    ] = Path("notify.toml"),
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message to every address, and end.")
    ] = False,
) -> None:
    """Tell the owners of assets when a promise breaks, and when it is kept again.

    It runs until it is stopped. What was told is kept in the Dagster instance, so nothing is told
    twice after a restart, and a second notifier stands by until the first is gone.

    Exit status, with --test: 0 every message was sent, 1 some was not, 2 could not run.
    """
    require_extra("notify", "apprise")

    from freshline.cli.instance import instance_folder, open_instance
    from freshline.cli.stopping import stop_requested
    from freshline.lookout import Lookout
    from freshline.notify import Notifier, read_notify_settings

    def say(line: str) -> None:
        typer.echo(f"freshline notify: {line}", err=True)

    read = read_notify_settings(settings)
    notifier = Notifier(Lookout(open_instance), read, say)
    if test:
        outcomes = notifier.send_test()
        for outcome in outcomes:
            typer.echo(f"{outcome.address.where}: {outcome.problem or 'sent'}")
        raise typer.Exit(int(any(outcome.problem for outcome in outcomes)))
    instance_folder()  # what is wrong with the settings is said now, not at the first look
    notifier.run(stop_requested())
