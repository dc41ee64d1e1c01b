"""``freshline contract write|show|export`` and ``freshline retire``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from freshline.cli.options import SecondsOption, workspace_options
from freshline.errors import CommandError, ContractError, UnknownNameError
from freshline.workspace.source import WorkspaceSource, read_workspace

if TYPE_CHECKING:
    from freshline.contract.document import Contract
    from freshline.workspace.runner import Inspected

__all__ = ["export_command", "retire_command", "show_command", "write_command"]

_Locations = Annotated[
    list[str] | None, typer.Argument(help="Code locations; all of the workspace by default.")
]


@workspace_options
def write_command(
    workspace: WorkspaceSource,
    locations: _Locations = None,
    seconds: SecondsOption = 60.0,
) -> None:
    """Write contract.json beside each location's code, from what the code says now.

    A location without a folder here gets contracts/LOCATION.json beside the workspace file.

    Exit status: 0 written, 1 some location does not load, 2 could not run.
    """
    from freshline.check.finding import shown

    failed = False
    for outcome in _inspected(workspace, locations, seconds):
        name, path = outcome.entry.name, outcome.entry.contract_file
        if outcome.contract is None:
            failed = True
            typer.echo(f"{name}: {outcome.error}", err=True)
            for line in outcome.traceback:
                typer.echo(f"  {line}", err=True)
            continue
        text = committed_form(outcome.contract).to_json()
        unchanged = path.exists() and path.read_text(encoding="utf-8") == text
        if not unchanged:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        typer.echo(f"{name}: {shown(path)} {'is up to date' if unchanged else 'written'}")
    raise typer.Exit(int(failed))


def committed_form(contract: Contract) -> Contract:
    """Return the contract as its file holds it: without what only the deployed code knows."""
    exports = tuple(export.model_copy(update={"code_version": None}) for export in contract.exports)
    return contract.model_copy(
        update={"code_version": None, "gone": (), "promised": {}, "exports": exports}
    )


@workspace_options
def show_command(
    workspace: WorkspaceSource,
    locations: _Locations = None,
    seconds: SecondsOption = 60.0,
) -> None:
    """Show what each location makes and needs, from what the code says now."""
    from freshline.cli.output import print_contract

    failed = False
    for outcome in _inspected(workspace, locations, seconds):
        if outcome.contract:
            print_contract(outcome.contract)
        else:
            failed = True
            typer.echo(f"{outcome.entry.name}: {outcome.error}", err=True)
    raise typer.Exit(int(failed))


@workspace_options
def export_command(
    workspace: WorkspaceSource,
    locations: _Locations = None,
    odcs: Annotated[
        bool, typer.Option("--odcs", help="In the Open Data Contract Standard, the only one yet.")
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Write files into this folder; without it, all is printed."),
    ] = None,
) -> None:
    """Write the committed contracts in the form of a standard.

    Each location gets two documents: its contract (NAME.odcs.yaml), and the location as a data
    product that has what it needs as input ports (NAME.odps.yaml).

    Exit status: 0 written, 2 could not run.
    """
    from freshline.check.gather import gather
    from freshline.standards import data_contract, data_product

    if not odcs:
        raise CommandError("say in which standard: --odcs.")
    contracts = []
    for location in gather(workspace, from_code=False):
        if location.contract is None:
            raise ContractError(f"{location.name}: {location.error}.")
        contracts.append(location.contract)
    read_workspace(workspace, locations or ())  # says which locations there are not
    documents: dict[str, dict[str, Any]] = {}
    for contract in contracts:
        if not locations or contract.location in locations:
            name = contract.location.replace("/", "%2F")
            documents[f"{name}.odcs.yaml"] = data_contract(contract)
            documents[f"{name}.odps.yaml"] = data_product(contract, contracts)
    _write_documents(documents, into)


def _write_documents(documents: dict[str, dict[str, Any]], into: Path | None) -> None:
    """Write each document into a file of that name in `into`; print all of them if that is None."""
    import yaml

    from freshline.check.finding import shown

    texts = {
        name: yaml.safe_dump(it, sort_keys=False, allow_unicode=True, width=100)
        for name, it in documents.items()
    }
    if into is None:
        typer.echo("---\n".join(texts.values()), nl=False)
        return
    into.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (into / name).write_text(text, encoding="utf-8", newline="\n")
        typer.echo(f"{shown(into / name)} written")


def retire_command(
    location: Annotated[str, typer.Argument(help="The code location that is gone for good.")],
) -> None:
    """Take a code location that is gone out of everyone's plans.

    Its assets and policies no longer count, until it publishes a contract again.
    """
    from freshline.cli.instance import open_instance
    from freshline.contract.publication import ContractReader, retirement

    with open_instance() as instance:
        reader = ContractReader()
        published = reader.read(instance)
        if location in reader.retired:
            typer.echo(f"{location} is retired already.")
            return
        if location not in published and location not in reader.problems:
            known = ", ".join(published) or "none"
            raise UnknownNameError(
                f"{location} has published no contract here; those that have: {known}."
            )
        instance.report_runless_asset_event(retirement(location))
    typer.echo(
        f"{location} is retired: its assets and policies no longer count. Should it still run, "
        "it is back with its next word; take it out of the workspace first."
    )


def _inspected(
    workspace: WorkspaceSource, locations: list[str] | None, seconds: float
) -> list[Inspected]:
    """Load `locations`, or all locations of the workspace, and return what their code defines."""
    from freshline.workspace.runner import inspect_entries

    return inspect_entries(read_workspace(workspace, locations or ()), seconds=seconds)
