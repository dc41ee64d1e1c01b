"""``freshline sources``: the dbt source block for what another location makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freshline.cli.options import workspace_options
from freshline.errors import SourcesError
from freshline.words import quoted
from freshline.workspace.source import WorkspaceSource

if TYPE_CHECKING:
    from freshline.contract.document import Contract

__all__ = ["sources_command"]


@workspace_options
def sources_command(
    workspace: WorkspaceSource,
    producer: Annotated[str, typer.Argument(help="The code location whose tables are read.")],
    into: Annotated[
        Path | None,
        typer.Option(help="The dbt file to write or update, such as models/sources.yml."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Write this table (its key) alone; may be given several times."),
    ] = None,
    from_code: Annotated[
        bool, typer.Option("--code", help="Ask the producer's code, not its committed contract.")
    ] = False,
) -> None:
    """Write the dbt sources for what another location makes.

    Tables that the file has already are updated; with --only, the named ones are added. Without
    --into the block is printed.
    """
    from freshline.dbt.sources import left_out, merge_sources

    contract = _contract(producer, workspace, from_code=from_code)
    text = into.read_text(encoding="utf-8") if into and into.exists() else ""
    merged = merge_sources(text, contract, only or None)
    others = left_out(contract)
    if others and not only:
        typer.echo(
            f"Left out, because their keys are not [layer, table]: {quoted(others)}. Name one with "
            "--only to see what to write by hand.",
            err=True,
        )
    if into is None:
        typer.echo(merged, nl=False)
    elif merged == text:
        typer.echo(f"{into} is up to date.")
    else:
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_text(merged, encoding="utf-8", newline="\n")
        typer.echo(f"{into} {'updated' if text else 'written'}.")


def _contract(producer: str, workspace: WorkspaceSource, *, from_code: bool) -> Contract:
    """Return the contract of the location `producer`. Raises `SourcesError`."""
    from freshline.check.gather import gather

    (location,) = gather(workspace, from_code=from_code, only=[producer])
    if location.contract is None:
        raise SourcesError(f"{producer}: {location.error}.")
    return location.contract
