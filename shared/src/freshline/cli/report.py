"""``freshline report`` and ``freshline keep``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from freshline.cli.extras import require_extra
from freshline.cli.times import read_since
from freshline.errors import CommandError
from freshline.words import clock, span

__all__ = ["keep_command", "report_command"]


def report_command(
    since: Annotated[
        str,
        typer.Option(
            help="The beginning: 12h or 7d ago, or a time such as 2026-12-24T18:00+01:00."
        ),
    ] = "7d",
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path(
        "freshline-report.html"
    ),
    objective: Annotated[
        float,
        typer.Option(
            help="The percentage of time in which a promise is to be kept; the rest is its error "
            "budget.",
            min=0.0,
            max=99.999,
        ),
    ] = 99.5,
) -> None:
    """Write a report: did the promises hold, what broke them, what did that cost?

    It is one HTML file that needs no network. What happened before the event log begins is read
    from what `freshline keep` has written down.

    Exit status: 0 written, 2 could not run.
    """
    require_extra("report", "fast_sugiyama", "matplotlib")

    from freshline.cli.instance import open_instance
    from freshline.history.kept import read_past
    from freshline.overview import refuse_without_contracts
    from freshline.report import report_of
    from freshline.report.page import page
    from freshline.sensor.outlook import Observer

    now = time.time()
    begin = read_since(since, now)
    if begin == now:
        raise CommandError(f"--since {since!r} leaves no time to report on; write 12h or 7d.")
    with open_instance() as instance:
        outlook = Observer().look(instance, now)
        refuse_without_contracts(outlook)
        past = read_past(instance, outlook.graph, begin, now)
    promised = {key: at for it in outlook.contracts for key, at in it.promised.items()}
    report = report_of(
        outlook.graph,
        past,
        begin,
        now,
        promised=promised,
        plan=outlook.plan,
        objective=objective / 100.0,
    )
    try:
        output.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--output {output} cannot be written: {error.strerror}.") from error
    targets, breaches = len(report.targets), len(report.breaches)
    typer.echo(
        f"{output}: {span(now - begin)}, {targets} target{'' if targets == 1 else 's'}, "
        f"{breaches} breach{'' if breaches == 1 else 'es'}."
    )


def keep_command() -> None:
    """Write down in a compact form what has happened, so that events can be deleted.

    It makes the tables freshline_... in the database of Dagster's event log if they are missing,
    and adds what is new up to a minute ago. So it needs the rights of the host. Run it once a day,
    and before you delete runs or events.

    Exit status: 0 kept, 2 could not run.
    """
    from freshline.cli.instance import open_instance
    from freshline.history.kept import keep
    from freshline.overview import refuse_without_contracts
    from freshline.sensor.outlook import Observer

    now = time.time()
    with open_instance() as instance:
        outlook = Observer().look(instance, now)
        refuse_without_contracts(outlook)
        period = keep(instance, outlook.graph, now)
    if period is None:
        typer.echo("nothing has happened that is not kept yet.")
    else:
        begin, end = clock(period.begin, now), clock(period.end, now)
        typer.echo(f"kept what happened from {begin} to {end}.")
