"""``freshline status``: how the targets stand, and why one asset has not run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from freshline.cli.options import JsonOption
from freshline.errors import CommandError, InstanceError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from freshline.lookout import Lookout
    from freshline.status.document import Explanation, Status

__all__ = ["status_command"]

_Found: TypeAlias = "Status | Explanation"
_Lines: TypeAlias = "Callable[[_Found], list[RenderableType]]"

_WATCH_EVERY: Final = 2.0
"""Seconds between two looks. One in which nothing has happened costs two small questions."""

_SHOWN: Final = 30
"""More targets than this are counted, not listed, unless all are asked for."""


def status_command(
    key: Annotated[
        str | None,
        typer.Argument(help="The key of one asset, as in mart/orders: why has it not run?"),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and redraw in place; Ctrl-C ends it.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="List every target, however many there are.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how all targets stand, those in trouble first; with a key, explain one asset.

    It reads the Dagster instance alone. Webserver, daemon and code locations may be down; it says
    so of the last two. While sensors tick, it shows what they have worked out last, else it works
    that out itself.

    Exit status: 0 every promise is kept, 1 one is broken (late or blocked), 2 could not run.
    """
    if watch and as_json:
        raise CommandError("--watch redraws a page for people; run --json again and again instead.")

    from freshline.cli.status_page import explanation_lines, status_lines
    from freshline.garbage import no_garbage_collection
    from freshline.status.document import Status

    def lines(found: _Found) -> list[RenderableType]:
        if isinstance(found, Status):
            return list(status_lines(found, None if every else _SHOWN))
        return list(explanation_lines(found))

    if watch:
        kept = _worked_out(key, lines).kept
    else:
        with no_garbage_collection():
            kept = _show(key, lines, as_json=as_json)
    raise typer.Exit(int(not kept))


def _show(key: str | None, lines: _Lines, *, as_json: bool) -> bool:
    """Print the status, or why the asset `key` has not run. Return whether promises are kept."""
    from freshline.cli.instance import instance_folder
    from freshline.status.quick import quick_status

    found: _Found | None = None if key else quick_status(instance_folder())
    if found is None:
        found = _worked_out(key, None)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print(lines(found))
    return found.kept


def _worked_out(key: str | None, watched: _Lines | None) -> _Found:
    """Return the status, or why the asset `key` has not run, worked out by a look at the instance.

    If it is to be `watched`, its lines are drawn until Ctrl-C. Raises `FreshlineError`.
    """
    from freshline.cli.instance import open_instance
    from freshline.lookout import Lookout

    with closing(Lookout(open_instance)) as lookout:
        if watched is None:
            return _look(lookout, key)
        return _watch(lambda: _look(lookout, key), watched)


def _look(lookout: Lookout, key: str | None) -> _Found:
    from freshline.overview import explanation_of, refuse_without_contracts, status_of

    outlook = lookout.look(time.time())
    refuse_without_contracts(outlook)
    if key:
        return explanation_of(key, outlook)
    with lookout.asking() as instance:
        return status_of(outlook, instance)


def _print(lines: Iterable[RenderableType]) -> None:
    from freshline.cli.console import console

    page = console()
    for line in lines:
        # One line of text for one fact, however narrow: it can be searched and piped.
        page.print(line, soft_wrap=True)


def _watch(ask: Callable[[], _Found], lines: _Lines) -> _Found:
    """Ask and redraw until Ctrl-C; return the last answer. Raises `FreshlineError`.

    When the instance does not answer any more, the page says so above its last answer.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from freshline.cli.console import console

    page = console()
    if not page.is_terminal:
        raise CommandError("--watch redraws a terminal, and this is none; leave it out.")
    found = ask()
    with Live(Group(*lines(found)), console=page, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(_WATCH_EVERY)
                trouble: list[Text] = []
                try:
                    found = ask()
                except InstanceError as error:
                    trouble = [Text(str(error), "red")]
                live.update(Group(*trouble, *lines(found)), refresh=True)
        except KeyboardInterrupt:
            return found
