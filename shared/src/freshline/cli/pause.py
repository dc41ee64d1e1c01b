"""``freshline pause`` and ``freshline resume``."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from freshline.cli.times import read_end
from freshline.errors import CommandError, UnknownNameError
from freshline.words import similar

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["pause_command", "resume_command"]

_Name = Annotated[
    str, typer.Argument(help="A code location, or the key of an asset with a policy.")
]


def pause_command(
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why, for those who will wonder.")],
    until: Annotated[
        str,
        typer.Option(help="The end: in 30m, 2h or 3d, or a time such as 2026-12-24T18:00+01:00."),
    ],
) -> None:
    """Request nothing of a location, or for a target, until some time.

    It is kept in the Dagster instance. The target's check and the sensors' ticks show it.
    """
    from freshline.cli.instance import open_instance
    from freshline.contract.pauses import pause_event
    from freshline.model import Pause

    if not reason.strip():
        raise CommandError("--reason is empty; say why, for those who will wonder.")
    end = read_end(until, time.time())
    with open_instance() as instance:
        _refuse_unknown(name, _pausable(instance))
        instance.report_runless_asset_event(pause_event(name, Pause(end, reason.strip())))
    shown = datetime.fromtimestamp(end, UTC)
    typer.echo(
        f"{name} is paused until {shown:%Y-%m-%d %H:%M} UTC. To end it earlier: "
        f"freshline resume {name}"
    )


def resume_command(name: _Name) -> None:
    """End a pause before its time."""
    from freshline.cli.instance import open_instance
    from freshline.contract.pauses import read_pauses, resumption

    with open_instance() as instance:
        paused = read_pauses(instance, time.time())
        if name not in paused:
            names = ", ".join(sorted(paused)) or "nothing"
            raise UnknownNameError(f"{name} is not paused; paused is {names}.")
        instance.report_runless_asset_event(resumption(name))
    typer.echo(f"{name} is not paused any more.")


def _pausable(instance: DagsterInstance) -> set[str]:
    """Return the locations that have published a contract, and the keys of their targets."""
    from freshline.contract import read_contracts

    contracts = read_contracts(instance)
    targets = {
        export.key
        for published in contracts.values()
        for export in published.contract.exports
        if export.policy
    }
    return {*contracts, *targets}


def _refuse_unknown(name: str, names: Collection[str]) -> None:
    if name in names:
        return
    close = similar(name, names)
    meant = f"; did you mean {close}?" if close else "."
    raise UnknownNameError(
        f"{name} is neither a location that has published a contract here nor an asset with a "
        f"policy{meant}"
    )
