"""``freshline impact``: which assets a change reaches, before it is made or merged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from freshline.cli.options import JsonOption, workspace_options
from freshline.errors import CommandError, UnknownNameError
from freshline.words import similar
from freshline.workspace.source import WorkspaceSource

if TYPE_CHECKING:
    from freshline.check.finding import Location
    from freshline.contract.document import Contract
    from freshline.impact.consumers import Consumer
    from freshline.impact.since import Reached

__all__ = ["impact_command"]


@workspace_options
def impact_command(
    workspace: WorkspaceSource,
    asset: Annotated[
        str | None,
        typer.Argument(help="An asset (mart/orders) or a column of it (mart/orders.amount)."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Compare the committed contracts with those of this git revision."),
    ] = None,
    from_code: Annotated[
        bool,
        typer.Option("--code", help="Ask the locations' code, not their committed contracts."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show whom a change reaches: by location, owner and policy.

    Exit status: 0, or with --since 1 if a breaking change reaches another location; 2 could
    not run.
    """
    from freshline.impact.since import reached_since

    if (asset is None) == (since is None):
        raise CommandError("name an asset or column, or a git revision with --since.")
    locations = _locations(workspace, from_code=from_code)
    if asset is not None:
        _show_asset(asset, locations, as_json=as_json)
        return
    reached = reached_since(since or "", workspace, locations)
    _show_changes(since or "", reached, as_json=as_json)
    raise typer.Exit(int(any(it.breaks_others for it in reached)))


def _locations(workspace: WorkspaceSource, *, from_code: bool) -> list[Location]:
    from freshline.check.gather import gather

    locations = gather(workspace, from_code=from_code)
    for location in locations:
        if location.error:
            typer.echo(f"freshline: {location.name} cannot be asked: {location.error}.", err=True)
    return locations


# --- an asset or column ----------------------------------------------------------------------


def _show_asset(asset: str, locations: Sequence[Location], *, as_json: bool) -> None:
    from freshline.check.finding import Workspace
    from freshline.cli.output import print_consumers
    from freshline.impact.consumers import consumers

    contracts = Workspace(locations).contracts
    key, column = _key_and_column(asset, contracts)
    reached = consumers(contracts, key, column)
    if as_json:
        document = {"key": key, "column": column, "consumers": [_to_json(it) for it in reached]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    changed = f"`{key}`" + (f", column `{column}`" if column else "")
    if not reached:
        typer.echo(f"Nothing depends on {changed}.")
        return
    names = sorted({consumer.location for consumer in reached})
    count = f"{len(reached)} asset{'' if len(reached) == 1 else 's'}"
    typer.echo(f"A change of {changed} reaches {count} in {', '.join(names)}:")
    print_consumers(reached)


def _key_and_column(asset: str, contracts: Sequence[Contract]) -> tuple[str, str | None]:
    """Return the key and the column that `asset` names. Raises `UnknownNameError`."""
    known = {export.key: export for contract in contracts for export in contract.exports}
    keys = {*known, *(needed.key for contract in contracts for needed in contract.imports)}
    if asset in keys:
        return asset, None
    key, _, column = asset.rpartition(".")
    if key not in keys:
        close = similar(key or asset, keys)
        meant = f"; did you mean {close}?" if close else "."
        raise UnknownNameError(f"no location makes or needs {key or asset}{meant}")
    export = known.get(key)
    listed = [it.name for it in export.columns or ()] if export else []
    made = [name for name in (export.made_columns or () if export else ()) if name not in listed]
    names = [*listed, *made]
    if names and column.lower() not in [name.lower() for name in names]:
        raise UnknownNameError(f"{key} has no column {column}; it has {', '.join(names)}.")
    return key, column


# --- the difference to a revision ------------------------------------------------------------


def _show_changes(revision: str, reached: Sequence[Reached], *, as_json: bool) -> None:
    from freshline.cli.output import print_changes

    if as_json:
        document = [
            {
                "location": it.location,
                **asdict(it.change),
                "consumers": [_to_json(consumer) for consumer in it.consumers],
            }
            for it in reached
        ]
        typer.echo(json.dumps({"since": revision, "changes": document}, indent=2))
        return
    print_changes(
        reached, f"since {revision}", nothing=f"No location makes anything else than at {revision}."
    )


def _to_json(consumer: Consumer) -> dict[str, Any]:
    policy = consumer.policy.to_json() if consumer.policy else None
    return {**asdict(consumer), "policy": policy, "owners": list(consumer.owners)}
