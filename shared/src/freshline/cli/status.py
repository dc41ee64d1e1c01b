"""``freshline status``: how the targets of all locations stand, and what holds them up."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from freshline.cli.options import JsonOption

if TYPE_CHECKING:
    from freshline.model import Blame, TargetPlan
    from freshline.sensor.outlook import Outlook

__all__ = ["status_command"]

_IN_TROUBLE: Final = ("late", "blocked")
_COLORS: Final = {"fresh": "green", "late": "red", "blocked": "red"}


def status_command(as_json: JsonOption = False) -> None:
    """Show how every target stands, and what holds it up.

    It reads the Dagster instance alone: no code is loaded, and nothing is requested.

    Exit status: 0 no target is late or blocked, 1 some target is, 2 could not run.
    """
    from freshline.cli.instance import open_instance
    from freshline.sensor.outlook import Observer

    with open_instance() as instance:
        outlook = Observer().look(instance, time.time())
    if as_json:
        typer.echo(json.dumps(_document(outlook), indent=2, ensure_ascii=False))
    else:
        _print(outlook)
    targets = outlook.plan.targets.values()
    raise typer.Exit(int(any(target.status.value in _IN_TROUBLE for target in targets)))


def _print(outlook: Outlook) -> None:
    from rich.markup import escape

    from freshline.cli.output import console, print_table
    from freshline.words import span

    rows = []
    for target in _targets(outlook):
        color = _COLORS.get(target.status.value, "yellow")
        lag = "unknown" if target.lag is None else span(target.lag)
        rows.append(
            (
                f"{escape(target.key)}\n[dim]{escape(target.location)}[/]",
                f"[{color}]{target.status.value}[/]",
                f"{lag} of {span(target.maximum)}",
                escape(target.reason),
            )
        )
    if rows:
        print_table(("target", "status", "lag", "how it stands"), rows)
    page = console()
    for sentence in _problems(outlook):
        page.print(sentence, markup=False)
    counts = Counter(target.status.value for target in outlook.plan.targets.values())
    standing = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    locations = ", ".join(sorted(outlook.published))
    page.print(f"Targets: {standing or 'none'}. Locations: {locations or 'none has come yet'}.")


def _targets(outlook: Outlook) -> list[TargetPlan]:
    """Return the targets, those in trouble first."""
    return sorted(
        outlook.plan.targets.values(),
        key=lambda target: (target.status.value not in _IN_TROUBLE, target.key),
    )


def _problems(outlook: Outlook) -> Iterator[str]:
    """Yield a sentence for each location that does not do as it should."""
    from freshline.words import clock, span

    for location in sorted(outlook.published):
        silent = _silent_since(outlook).get(location)
        if silent is not None:
            yield f"{location} is not heard of since {clock(silent, outlook.now)}"
        tick = outlook.snapshot.ticks.get(location)
        if tick is not None:
            asked = span(outlook.graph.tick(location))
            yield f"ticks of {location} are {span(tick)} apart, not {asked}"
    for location, why in sorted(outlook.problems.items()):
        yield f"going on without {location}: {why}"
    yield from (sentence for _, sentence in sorted(outlook.replaced.items()))


def _silent_since(outlook: Outlook) -> dict[str, float]:
    from freshline.planner import silent_locations

    return silent_locations(outlook.graph, outlook.snapshot, outlook.now)


def _document(outlook: Outlook) -> dict[str, Any]:
    silent = _silent_since(outlook)
    return {
        "at": _time(outlook.now),
        "plan": outlook.plan.id,
        "targets": [_target(target) for target in _targets(outlook)],
        "locations": [
            {
                "name": location,
                "seen": _time(published.published_at),
                "silent": location in silent,
            }
            for location, published in sorted(outlook.published.items())
        ],
        "problems": list(_problems(outlook)),
    }


def _target(target: TargetPlan) -> dict[str, Any]:
    return {
        "key": target.key,
        "location": target.location,
        "status": target.status.value,
        "lag_seconds": target.lag,
        "maximum_lag_seconds": target.maximum,
        "shortest_possible_seconds": target.shortest,
        "deadline": _time(target.deadline),
        "reason": target.reason,
        "held_up_by": _blame(target.blame) if target.blame else None,
    }


def _blame(blame: Blame) -> dict[str, Any]:
    return {
        "location": blame.location,
        "asset": blame.asset,
        "phase": blame.phase.value,
        "since": _time(blame.since),
        "message": blame.message,
    }


def _time(time: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    return None if time is None else datetime.fromtimestamp(time, UTC).isoformat()
