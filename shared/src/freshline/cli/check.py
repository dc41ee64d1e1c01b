"""``freshline check``: the gate as a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freshline.cli.options import JsonOption, SecondsOption, WorkspaceOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freshline.check.finding import Workspace
    from freshline.model import Durations

__all__ = ["check_command"]


def check_command(
    workspace: WorkspaceOption = Path("workspace.yaml"),
    committed: Annotated[
        bool, typer.Option("--committed", help="Judge the committed contracts; load no code.")
    ] = False,
    measured: Annotated[
        bool,
        typer.Option(
            "--measured", help="Judge policies by what runs took in the Dagster instance."
        ),
    ] = False,
    durations: Annotated[
        Path | None,
        typer.Option(help="Judge policies by this JSON object of seconds by asset key."),
    ] = None,
    seconds: SecondsOption = 60.0,
    as_json: JsonOption = False,
    github: Annotated[
        bool, typer.Option("--github", help="Print annotations for GitHub's pull requests.")
    ] = False,
) -> None:
    """Stop a deploy that breaks another team's lineage.

    Exit status: 0 clean (notes may be printed), 1 findings, 2 could not run.
    """
    from freshline.check import Severity, Workspace, findings
    from freshline.check.gather import from_code, from_files, read_seconds
    from freshline.cli import output as report

    declared = read_seconds(durations) if durations else {}
    subjects = from_files(workspace) if committed else from_code(workspace, seconds=seconds)
    looked_at = Workspace(subjects, declared)
    found = findings(looked_at, _measured(looked_at) if measured else None)
    if as_json:
        report.print_json(found, subjects)
    elif github:
        report.print_github(found, subjects)
    else:
        report.print_findings(found, subjects)
    raise typer.Exit(int(any(finding.severity is Severity.FINDING for finding in found)))


def _measured(workspace: Workspace) -> Mapping[str, Durations]:
    """What the recent runs of every asset took. Needs the instance."""
    import time

    from freshline.cli.instance import open_instance
    from freshline.contract import graph_of
    from freshline.history import History

    with open_instance() as instance:
        snapshot = History(instance).read(graph_of(workspace.contracts), time.time())
    return {key: state.durations for key, state in snapshot.assets.items()}
