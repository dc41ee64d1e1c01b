"""``freshline simulate``: what the policies cost, whether they hold, and what if they changed."""

from __future__ import annotations

from collections.abc import Iterable
from math import log1p, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freshline.cli.options import workspace_options
from freshline.errors import CommandError
from freshline.model import Durations
from freshline.simulate.forecast import Forecast, forecast
from freshline.simulate.scenario import Duration, Scenario
from freshline.simulate.what_if import with_policies
from freshline.words import span
from freshline.workspace.source import WorkspaceSource

if TYPE_CHECKING:
    from freshline.check.finding import Location

__all__ = ["simulate_command"]


@workspace_options
def simulate_command(
    workspace: WorkspaceSource,
    committed: Annotated[
        bool, typer.Option("--committed", help="Take the committed contracts; load no code.")
    ] = False,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--what-if", help="LOCATION:KEY=2m, or =none; may be repeated."),
    ] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="Take durations from the Dagster instance.")
    ] = False,
    durations: Annotated[
        Path | None, typer.Option(help="Take durations from this JSON object of seconds by key.")
    ] = None,
    default: Annotated[
        float, typer.Option(help="Seconds of an asset of which nothing is known.", min=0.0)
    ] = 15.0,
    launch: Annotated[
        float, typer.Option(help="Seconds to launch a run, unless measured.", min=0.0)
    ] = 8.0,
    sigma: Annotated[
        float, typer.Option(help="How much durations vary, unless measured.", min=0.0, max=2.0)
    ] = 0.3,
    hours: Annotated[float, typer.Option(help="Hours to simulate.", min=0.1)] = 24.0,
    seed: Annotated[int, typer.Option(help="Of the random durations.")] = 0,
) -> None:
    """Show what the current policies cost and whether they hold, on a virtual clock.

    Exit status: 0 shown, 2 could not run.
    """
    from freshline.check.finding import Workspace
    from freshline.check.gather import gather, read_seconds
    from freshline.cli.instance import measured_durations

    locations = gather(workspace, from_code=not committed)
    _print_left_out(locations)
    looked_at = Workspace(locations, read_seconds(durations) if durations else {})
    graph = looked_at.lineage.graph
    after = with_policies(graph, what_if or ())
    given = looked_at.expected_seconds
    known = measured_durations(graph) if measured else {}
    if not any(asset.policy for asset in after.assets.values()):
        raise CommandError("no asset has a policy, so nothing would run.")
    executions = {
        key: _execution(known.get(key), given.get(key, default), sigma) for key in graph.assets
    }
    launches = Duration(_mean_launch(known.values(), launch), sigma)
    before = forecast(Scenario(graph, executions, launches, seed=seed), hours)
    with_change = (
        forecast(Scenario(after, executions, launches, seed=seed), hours) if what_if else None
    )
    _print_forecasts(before, with_change, hours)


def _print_left_out(locations: list[Location]) -> None:
    """Print to standard error which locations the simulation leaves out, and why."""
    for location in locations:
        if location.error and location.contract is None:
            typer.echo(f"freshline: left out {location.name}: {location.error}", err=True)


def _execution(measured: Durations | None, seconds: float, sigma: float) -> Duration:
    """Return the execution time of an asset: as measured, else `seconds`, varied by `sigma`."""
    execution = measured.execution if measured else None
    if execution is None or execution.mean <= 0:
        return Duration(seconds, sigma)
    return Duration(execution.mean, sqrt(log1p(execution.variance / execution.mean**2)))


def _mean_launch(measured: Iterable[Durations], default: float) -> float:
    """Return the mean seconds from request to first step of the assets that were measured."""
    launches = [
        durations.queue.mean + durations.start.mean
        for durations in measured
        if durations.queue and durations.start
    ]
    return sum(launches) / len(launches) if launches else default


def _print_forecasts(before: Forecast, after: Forecast | None, hours: float) -> None:
    from rich.table import Table

    from freshline.cli.output import console

    shown = [before] if after is None else [before, after]
    heads = [""] if after is None else ["before", "after"]
    cost = Table(title=f"Cost over {hours:g} simulated hours", title_justify="left")
    cost.add_column("")
    for head in heads:
        cost.add_column(head, justify="right")
    cost.add_row("root syncs an hour", *(f"{one.figures.root_syncs:.1f}" for one in shown))
    cost.add_row(
        "materializations an hour", *(f"{one.figures.materializations:.1f}" for one in shown)
    )
    if any(one.figures.observations for one in shown):
        cost.add_row("observations an hour", *(f"{one.figures.observations:.1f}" for one in shown))
    targets = Table(title="Targets", title_justify="left")
    targets.add_column("target", overflow="fold")
    if after:
        targets.add_column("")
    for head in ("asked", "possible", "late"):
        targets.add_column(head, justify="right", no_wrap=True)
    targets.add_column("holds", no_wrap=True)
    for key in sorted({key for one in shown for key in one.maximum}):
        for head, one in zip(heads, shown, strict=True):
            name = key if one is before or key not in before.maximum else ""
            if key in one.maximum:
                targets.add_row(name, *([head] if after else []), *_cells(one, key))
    page = console()
    page.print(cost)
    page.print(targets)
    last = before if after is None else after
    for key, why in sorted({**last.in_part, **last.blocked}.items()):
        page.print(f"{key}: {why}", markup=False)


def _cells(one: Forecast, key: str) -> tuple[str, str, str, str]:
    share = one.figures.targets[key].share
    if key in one.blocked:
        return span(one.maximum[key]), "", "", "[yellow]by others[/yellow]"
    if key in one.infeasible:
        holds = "[red]impossible[/red]"
    else:
        holds = "[green]yes[/green]" if share <= 0.001 else "[yellow]not always[/yellow]"
    return span(one.maximum[key]), span(one.shortest[key]), f"{share:.2%}", holds
