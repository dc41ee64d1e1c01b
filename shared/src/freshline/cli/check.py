"""``freshline check``: the gate as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freshline.cli.options import JsonOption, SecondsOption, workspace_options
from freshline.workspace.source import WorkspaceSource

__all__ = ["check_command"]


def _explain(rule: str | None) -> None:
    from freshline.check.explain import explained
    from freshline.settings import rule_named

    if rule is not None:
        typer.echo(explained(rule_named(rule)))
        raise typer.Exit


@workspace_options
def check_command(
    workspace: WorkspaceSource,
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
    sarif: Annotated[
        bool, typer.Option("--sarif", help="Print SARIF 2.1.0, for code scanning and editors.")
    ] = False,
    explain: Annotated[  # noqa: ARG001  # its callback has answered, without a workspace
        str | None,
        typer.Option(
            metavar="RULE",
            help="Say what a rule finds, why, and how to mend it.",
            callback=_explain,
            is_eager=True,
        ),
    ] = None,
) -> None:
    """Stop a deploy that breaks another team's lineage.

    Exit status: 0 clean (notes may be printed), 1 findings, 2 could not run.
    """
    from freshline.check import Rule, Severity, Workspace, findings
    from freshline.check.gather import gather, read_seconds
    from freshline.cli import output
    from freshline.cli.instance import measured_durations
    from freshline.garbage import no_garbage_collection
    from freshline.settings import read_settings

    declared = read_seconds(durations) if durations else {}
    settings = read_settings(workspace.home)
    with no_garbage_collection():
        locations = gather(workspace, from_code=not committed, seconds=seconds)
        looked_at = Workspace(locations, declared, settings.convention)
        known = measured_durations(looked_at.lineage.graph) if measured else None
        found, left_out = settings.applied_to(
            findings(looked_at, known),
            not_judged=[
                *([Rule.STALE_CONTRACT, Rule.DOES_NOT_LOAD] if committed else []),
                *([] if measured or durations else [Rule.POLICY]),
                *(Rule if looked_at.without_contract else []),
            ],
        )
    if as_json:
        output.print_json(found, locations, left_out)
    elif sarif:
        output.print_sarif(found, left_out, _file_of(workspace))
    elif github:
        output.print_github(found, locations, left_out)
    else:
        output.print_findings(found, locations, left_out)
    raise typer.Exit(int(any(finding.severity is Severity.ERROR for finding in found)))


def _file_of(workspace: WorkspaceSource) -> Path | None:
    """Return the first file that declares locations, as people type it; None: none does."""
    from freshline.check.finding import shown

    return Path(shown(workspace.files[0])) if workspace.files else None
