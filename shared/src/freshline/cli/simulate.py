"""``freshline simulate``: what the policies cost, whether they hold, and what if they changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import log1p, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freshline.cli.options import workspace_options
from freshline.errors import CommandError
from freshline.model import SLOTS, Capacity, Durations, Snapshot
from freshline.words import span
from freshline.workspace.source import WorkspaceSource

if TYPE_CHECKING:
    from rich.table import Table

    from freshline.check.finding import Location
    from freshline.simulate.forecast import Forecast
    from freshline.simulate.scenario import Duration
    from freshline.simulate.shortage import Shortage

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
    slots: Annotated[
        int | None, typer.Option(help="Runs that may be under way at once.", min=1)
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PLACES", help="Places in a pool; may be repeated."),
    ] = None,
    hours: Annotated[float, typer.Option(help="Hours to simulate.", min=0.1)] = 24.0,
    seed: Annotated[int, typer.Option(help="Of the random durations.")] = 0,
) -> None:
    """Show what the current policies cost and whether they hold, on a virtual clock.

    With --measured, slots and pools are limited as in the instance. Otherwise there are any number,
    unless --slots and --pool say how many. If there are too few, it says how many would do.

    Exit status: 0 shown, 2 could not run.
    """
    from freshline.check.finding import Workspace
    from freshline.check.gather import gather, read_seconds
    from freshline.cli.instance import read_instance
    from freshline.simulate.forecast import forecast
    from freshline.simulate.scenario import Duration, Scenario
    from freshline.simulate.what_if import with_policies

    locations = gather(workspace, from_code=not committed)
    _print_left_out(locations)
    looked_at = Workspace(locations, read_seconds(durations) if durations else {})
    graph = looked_at.lineage.graph
    after = with_policies(graph, what_if or ())
    given = looked_at.expected_seconds
    snapshot = read_instance(graph) if measured else Snapshot({})
    known = {key: state.durations for key, state in snapshot.assets.items()}
    if not any(asset.policy for asset in after.assets.values()):
        raise CommandError("no asset has a policy, so nothing would run.")
    executions = {
        key: _execution(known.get(key), given.get(key, default), sigma) for key in graph.assets
    }
    launches = Duration(_mean_launch(known.values(), launch), sigma)
    scenario = Scenario(
        graph,
        executions,
        launches,
        capacity=_capacity(snapshot.capacity, slots, pool or ()),
        seed=seed,
    )
    before = forecast(scenario, hours)
    with_change = forecast(replace(scenario, graph=after), hours) if what_if else None
    _print_forecasts(before, with_change, hours)


def _print_left_out(locations: list[Location]) -> None:
    """Print to standard error which locations the simulation leaves out, and why."""
    for location in locations:
        if location.error and location.contract is None:
            typer.echo(f"freshline: left out {location.name}: {location.error}", err=True)


def _capacity(known: Capacity, slots: int | None, pools: Iterable[str]) -> Capacity:
    """Return `known` with the given slots and pools. Runs of others do not count."""
    return Capacity(
        slots=known.slots if slots is None else slots,
        pools={**known.pools, **dict(map(_pool, pools))},
    )


def _pool(text: str) -> tuple[str, int]:
    """Return the pool and its places in ``NAME=PLACES``. Raises `CommandError`."""
    name, _, places = text.rpartition("=")
    if not name or not places.isdigit() or int(places) == 0:
        raise CommandError(f"--pool {text}: write NAME=PLACES, as in github=2.")
    return name, int(places)


def _execution(measured: Durations | None, seconds: float, sigma: float) -> Duration:
    """Return the execution time of an asset: as measured, else `seconds`, varied by `sigma`."""
    from freshline.simulate.scenario import Duration

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
    from freshline.cli.console import console

    shown = {"": before} if after is None else {"before": before, "after": after}
    page = console()
    page.print(_costs(shown, hours))
    page.print(_targets(shown))
    last = before if after is None else after
    for name, shortage in last.shortages.items():
        page.print(_too_small(name, shortage), markup=False)
    for key, why in sorted({**last.in_part, **last.blocked}.items()):
        page.print(f"{key}: {why}", markup=False)


def _costs(shown: Mapping[str, Forecast], hours: float) -> Table:
    """Return what the forecasts `shown` cost, by what they are called."""
    from rich.table import Table

    cost = Table(title=f"Cost over {hours:g} simulated hours", title_justify="left")
    cost.add_column("")
    for head in shown:
        cost.add_column(head, justify="right")
    found = [one.figures for one in shown.values()]
    cost.add_row("root syncs an hour", *(f"{one.root_syncs:.1f}" for one in found))
    cost.add_row("materializations an hour", *(f"{one.materializations:.1f}" for one in found))
    if any(one.observations for one in found):
        cost.add_row("observations an hour", *(f"{one.observations:.1f}" for one in found))
    taken = [one.taken for one in shown.values()]
    for name in taken[0]:
        cells = [f"{mean:.1f} of {limit}" for mean, limit in (one[name] for one in taken)]
        cost.add_row(f"{_kind(name)} in use", *cells)
    return cost


def _targets(shown: Mapping[str, Forecast]) -> Table:
    """Return whether the targets hold in the forecasts `shown`, by what these are called."""
    from rich.table import Table

    targets = Table(title="Targets", title_justify="left")
    targets.add_column("target", overflow="fold")
    if len(shown) > 1:
        targets.add_column("")
    for head in ("asked", "possible", "late"):
        targets.add_column(head, justify="right", no_wrap=True)
    targets.add_column("holds", no_wrap=True)
    for key in sorted({key for one in shown.values() for key in one.maximum}):
        name = key
        for head, one in shown.items():
            if key in one.maximum:
                targets.add_row(name, *([head] if head else []), *_cells(one, key))
                name = ""
    return targets


def _kind(name: str) -> str:
    return "run slots" if name == SLOTS else f"places in the pool {name}"


def _too_small(name: str, shortage: Shortage) -> str:
    what = "this machine" if name == SLOTS else f"the pool {name}"
    return (
        f"{what} is too small: the work needs {shortage.work:.1f} of {shortage.given} "
        f"{_kind(name)}; with these deadlines, {shortage.enough}"
    )


def _cells(one: Forecast, key: str) -> tuple[str, str, str, str]:
    from freshline.simulate.forecast import HOLDS

    share = one.figures.targets[key].share
    if key in one.blocked:
        return span(one.maximum[key]), "", "", "[yellow]by others[/yellow]"
    if key in one.infeasible:
        holds = "[red]impossible[/red]"
    else:
        holds = "[green]yes[/green]" if share <= HOLDS else "[yellow]not always[/yellow]"
    return span(one.maximum[key]), span(one.shortest[key]), f"{share:.2%}", holds
