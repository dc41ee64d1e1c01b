"""The page of ``freshline status``: a few lines for each target, or one asset explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from freshline.model import BROKEN, DOING, Phase
from freshline.status.document import (
    Explanation,
    Location,
    Need,
    NextStep,
    OnTheWay,
    Status,
    Target,
)
from freshline.words import clock, span

__all__ = ["explanation_lines", "status_lines"]

_STYLES: Final = {
    "blocked": "bold red",
    "late": "bold red",
    "infeasible": "yellow",
    "paused": "yellow",
    "fresh": "green",
}
"""The states of a target, the worst first."""

_INDENT: Final = " " * 12


def status_lines(status: Status, shown: int | None) -> Iterator[Text]:
    """Yield the lines of the page; of targets beyond the first `shown`, only how many there are."""
    now = status.at
    yield _summary(status)
    for sentence in _troubles(status):
        yield Text(sentence, "yellow")
    targets = status.targets[:shown]
    width = max((len(target.asset) for target in targets), default=0)
    for target in targets:
        yield Text()
        yield from _target_lines(target, width, now)
    rest = status.targets[len(targets) :]
    if rest:
        yield Text()
        yield Text(f"{len(rest)} more: {_counts(rest)}; --all lists them.")


def _summary(status: Status) -> Text:
    number, locations = len(status.targets), len(status.locations)
    targets = f"{number} target{'' if number == 1 else 's'}"
    if number:
        targets += f", {_counts(status.targets)}"
    where = f"{locations} code location{'' if locations == 1 else 's'}"
    style = "bold green" if status.kept else "bold red"
    return Text.assemble(f"{clock(status.at, status.at)}: ", (targets, style), f", in {where}.")


def _counts(targets: Sequence[Target]) -> str:
    found = Counter(target.status for target in targets)
    return ", ".join(f"{found[name]} {name}" for name in _STYLES if found[name])


# --- who is not heard of -------------------------------------------------------------------------


def _troubles(status: Status) -> Iterator[str]:
    """Yield what keeps runs from being requested, whatever the targets need."""
    now, daemon = status.at, status.daemon
    if daemon.silent:
        heard = "has never been heard of in this instance"
        if daemon.last_heard_of is not None:
            heard = f"has not been heard of since {clock(daemon.last_heard_of, now)}"
        yield f"Dagster's daemon {heard}: no sensor ticks, and nothing is requested."
    for location in status.locations:
        yield from _troubles_of(location, now, daemon_silent=daemon.silent)


def _troubles_of(location: Location, now: float, *, daemon_silent: bool) -> Iterator[str]:
    name = location.location
    if location.problem is not None:
        yield f"going on without {name}: {location.problem}"
    if location.silent and location.last_heard_of is not None:
        why = ""
        if location.stopped_sensors:
            sensors = " and ".join(location.stopped_sensors)
            why = f": {sensors} was stopped in Dagster"
        elif not daemon_silent:
            why = ": its code server is down, or its code does not load"
        yield f"{name} has not been heard of since {clock(location.last_heard_of, now)}{why}."
    if location.replaced is not None:
        yield location.replaced
    if location.measured_tick_seconds is not None:
        apart = span(location.measured_tick_seconds)
        asked = span(location.declared_tick_seconds)
        yield f"ticks of {name} are {apart} apart, not {asked}: Dagster's daemon has too much to do"
    if location.paused_until is not None:
        until = clock(location.paused_until, now)
        yield f"{name} is paused until {until}: {location.pause_reason}"
    if location.observes:
        yield f"{name} only observes: it requests nothing."


# --- one target ----------------------------------------------------------------------------------


def _target_lines(target: Target, width: int, now: float) -> Iterator[Text]:
    yield from _standing_lines(target, width, now)
    if target.next is not None:
        step, expected = _next(target.next, now), _expected(target, now)
        yield Text.assemble(_INDENT, ("next  ", "dim"), step, expected)
    if target.path:
        ways = " > ".join(f"{hop.asset} {span(hop.seconds)} {hop.share:.0%}" for hop in target.path)
        assumed = "" if target.measured else " (in part assumed)"
        yield Text.assemble(_INDENT, ("path  ", "dim"), f"{ways}{assumed}")


def _standing_lines(target: Target, width: int, now: float) -> Iterator[Text]:
    yield Text.assemble(
        (f"{target.status:<{len(_INDENT)}}", _STYLES[target.status]),
        (f"{target.asset:<{width}}", "bold"),
        f"  {_lag(target)}",
        f"  {_until(target, now)}",
        (f"  {target.location}", "dim"),
    )
    held = target.held_up_by
    if held is not None and target.status not in ("infeasible", "paused"):
        yield Text.assemble(_INDENT, ("held up by ", "red"), f"{held.location}: {held.message}")
    elif target.status != "fresh" or target.unchanged_since is not None:
        yield Text(f"{_INDENT}{target.reason}")


def _lag(target: Target) -> str:
    lag = "lag unknown" if target.lag_seconds is None else span(target.lag_seconds)
    ticks = " at the ticks of its cron" if target.cron else ""
    return f"{lag} of {span(target.maximum_lag_seconds)}{ticks}"


def _until(target: Target, now: float) -> str:
    if target.deadline is None:
        return "no version yet" if target.data_time is None else ""
    at = clock(target.deadline, now, target.timezone)
    return f"since {at}" if target.deadline < now else f"until {at}"


def _next(step: NextStep, now: float) -> str:
    what = f"{step.asset} in {step.location}"
    phase = Phase(step.phase)
    if phase in DOING:
        return f"{what} has been {DOING[phase]} since {clock(step.since or now, now)}"
    if phase is Phase.FAILING and step.due is not None:
        return f"{what} is tried again at {clock(step.due, now)}"
    if phase is Phase.WAIT and step.due is not None:
        if step.due <= now:
            return f"{what} is requested at the next tick"
        return f"{what} starts in {span(step.due - now)}"
    return f"{what} waits, and nothing is planned"


def _expected(target: Target, now: float) -> str:
    """Return by when a target that is late will be made, if that is known."""
    if target.status not in BROKEN or target.expected is None or target.expected <= now:
        return ""
    return f"; {target.asset} is expected by {clock(target.expected, now)}"


# --- one asset, explained ------------------------------------------------------------------------


def explanation_lines(explained: Explanation) -> Iterator[Text]:
    """Yield the lines that explain one asset."""
    now, target = explained.at, explained.target
    if target is not None:
        yield from _standing_lines(target, len(target.asset), now)
    else:
        yield Text.assemble((explained.asset, "bold"), (f"  {explained.location}", "dim"))
        yield Text("It has no policy of its own.")
    yield Text()
    if explained.owners:
        yield _fact("owners", ", ".join(explained.owners))
    if explained.needed_by:
        yield _fact("needed by", ", ".join(explained.needed_by))
    yield _fact("last made", _made(explained))
    if explained.run_id is not None:
        yield _fact("run", f"{explained.run_id} makes it")
    elif explained.requested:
        yield _fact("why now", explained.reason)
    else:
        yield _fact("why not now", explained.reason)
    yield from _need_lines("it runs when", explained.needs)
    step = explained.waits_for
    if step is not None:
        yield _fact("next" if step.asset == explained.asset else "waits for", _next(step, now))
        yield from _need_lines("that runs when", explained.waits_for_needs)
    if explained.path:
        yield Text()
        yield from _way_lines(explained.path, now)


def _fact(name: str, value: str) -> Text:
    return Text.assemble((f"{name:<16}", "dim"), value)


def _made(explained: Explanation) -> str:
    if explained.made_at is None:
        return "never"
    data = "from data of an unknown time"
    if explained.data_time is not None:
        data = f"from data of {clock(explained.data_time, explained.at)}"
    return f"{clock(explained.made_at, explained.at)}, {data}"


def _need_lines(title: str, needs: Sequence[Need]) -> Iterator[Text]:
    for number, need in enumerate(needs):
        mark = ("[x] ", "green") if need.met else ("[ ] ", "yellow")
        yield Text.assemble((f"{'' if number else title:<16}", "dim"), mark, need.text)


def _way_lines(path: Sequence[OnTheWay], now: float) -> Iterator[Text]:
    """Yield the way as a table, with what the plan says of each asset."""
    rows = [("path", "location", "takes", "share", "data of", "")]
    rows += [
        (
            hop.asset,
            hop.location,
            span(hop.seconds),
            f"{hop.share:.0%}",
            "unknown" if hop.data_time is None else clock(hop.data_time, now),
            hop.reason,
        )
        for hop in path
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for number, row in enumerate(rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:5], widths, strict=True)]
        yield Text("  ".join([*cells, row[5]]).rstrip(), "" if number else "dim")
