"""``freshline log``: what was requested, why, and what became of it, one line a run."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from freshline.cli.options import JsonOption
from freshline.cli.times import read_since
from freshline.errors import InstanceError
from freshline.words import clock, span

if TYPE_CHECKING:
    from freshline.log import Request

__all__ = ["log_command"]

_LOOK_EVERY: Final = 2.0
"""Seconds between two looks of ``--follow``."""

_NAMED: Final = 2
"""So many assets of a run are named; the others are counted."""


def log_command(
    since: Annotated[
        str, typer.Option(help="From when on: 30m, 2h or 3d ago, or 2026-12-24T18:00+01:00.")
    ] = "1h",
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on: a line when a run is requested and ends."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which runs freshline has requested, for whom and why, and what became of each.

    It reads the Dagster instance alone. With --follow, --json prints one object a line.

    Exit status: 0 shown, 2 could not run.
    """
    from freshline.cli.instance import open_instance
    from freshline.log import read_log

    begin = read_since(since, time.time())
    if follow:
        _follow(begin, as_json=as_json)
        return
    with open_instance() as instance:
        log = read_log(instance, begin, time.time())
    if as_json:
        typer.echo(log.model_dump_json(indent=2))
        return
    width = max((len(request.location or "") for request in log.requests), default=0)
    for request in log.requests:
        typer.echo(_line(request, request.requested_at, log.at, width))
    if not log.requests:
        typer.echo(f"freshline has requested nothing since {clock(begin, log.at)}.")


def _follow(begin: float, *, as_json: bool) -> None:
    """Print a line for every run that is requested or ends, until Ctrl-C."""
    from freshline.cli.instance import instance_folder, open_instance
    from freshline.log import Follower
    from freshline.lookout import Lookout

    instance_folder()  # what is wrong with the settings ends the command; an outage does not
    follower, width, away = Follower(begin), 0, False
    with closing(Lookout(open_instance)) as lookout, suppress(KeyboardInterrupt):
        while True:
            now = time.time()
            requests: list[Request] = []
            try:
                with lookout.asking() as instance:
                    requests, away = follower.news(instance, now), False
            except InstanceError as error:
                if not away:
                    typer.echo(f"freshline log: {error}; trying again", err=True)
                away = True
            for request in requests:
                width = max(width, len(request.location or ""))
                at = request.requested_at if request.ended_at is None else request.ended_at
                line = request.model_dump_json() if as_json else _line(request, at, now, width)
                typer.echo(line)
            time.sleep(_LOOK_EVERY)


def _line(request: Request, at: float, now: float, width: int) -> str:
    """Return a run as one line that begins with the time `at`; its location takes `width`."""
    return "  ".join(
        [
            clock(at, now),
            f"{request.location or '-':<{width}}",
            _what(request),
            _result(request),
            f"{request.reason}{_slack(request)}",
        ]
    )


def _what(request: Request) -> str:
    names = list(request.assets or request.checks)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    part = f" {request.partition}" if request.partition else ""
    return f"{', '.join(names[:_NAMED])}{more}{part}"


def _result(request: Request) -> str:
    if request.ended_at is None:
        return request.result
    took = span(request.ended_at - request.requested_at)
    return f"{request.result} after {took}{f': {request.error}' if request.error else ''}"


def _slack(request: Request) -> str:
    if request.slack_seconds is None:
        return ""
    if request.slack_seconds < 0:
        return f", {span(-request.slack_seconds)} too late"
    return f", {span(request.slack_seconds)} to spare"
