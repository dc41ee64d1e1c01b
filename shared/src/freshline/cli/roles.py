"""``freshline roles``: the rights that each location needs in Postgres, as SQL."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from freshline.cli.options import workspace_options
from freshline.errors import ContractError
from freshline.workspace.source import WorkspaceSource, read_workspace

__all__ = ["roles_command"]


class _Database(StrEnum):
    WAREHOUSE = "warehouse"
    INSTANCE = "instance"


@workspace_options
def roles_command(
    database: Annotated[
        _Database,
        typer.Argument(help="The one with the tables, or that of the Dagster instance."),
    ],
    workspace: WorkspaceSource,
) -> None:
    """Print the SQL that gives each location's role what it needs in Postgres, and no more.

    It follows from the committed contracts. Nothing is run: pipe it into psql. It can be run again
    whenever a contract has changed, and changes what is not right yet.

    Exit status: 0 printed, 1 printed, but something has to be granted by hand, 2 could not run.
    """
    if database is _Database.INSTANCE:
        from freshline.rights import instance_sql

        typer.echo(instance_sql([entry.name for entry in read_workspace(workspace)]), nl=False)
        return
    from freshline.check.gather import gather
    from freshline.rights import needs_of, warehouse_sql
    from freshline.settings import read_settings

    contracts = []
    for location in gather(workspace, from_code=False):
        if location.contract is None:
            raise ContractError(f"{location.name}: {location.error}.")
        contracts.append(location.contract)
    settings = read_settings(workspace.home)
    needs = needs_of(contracts, convention=settings.convention, schemas=settings.schemas)
    typer.echo(warehouse_sql(needs), nl=False)
    for sentence in needs.uncovered:
        typer.echo(f"freshline: {sentence}", err=True)
    raise typer.Exit(int(bool(needs.uncovered)))
