"""The report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final, NamedTuple

from freshline.model import TargetStatus
from freshline.planner.deadlines import deadline
from freshline.report import Report, TargetReport
from freshline.report.breaches import Breach, Cause, share_of_causes
from freshline.report.charts import (
    COLOURS_OF_PARTS,
    cost_chart,
    cycle_chart,
    distribution_chart,
    lag_chart,
    team,
)
from freshline.report.cycle import Cycles, Part
from freshline.report.drawing import Drawing, Role
from freshline.report.lineage import lineage_drawing
from freshline.words import clock, quoted, span

__all__ = ["page"]

_DETAILED: Final = 6
"""Targets that are drawn, those with the least of their budget left. The table has all."""
_BREACHES: Final = 100
"""Breaches that are listed, the longest."""
_COSTS: Final = 20
"""Assets whose cost is drawn, those that are made most often."""
_CAUSES: Final = 3
"""Causes that are named of one breach."""
_SHORT: Final = 32
"""Characters of a cell that is not broken into lines, except in narrow windows."""


class _Heading(NamedTuple):
    text: str
    number: bool = False


class _Cell(NamedTuple):
    text: str
    mood: str = ""
    """"good" or "bad", if it is either."""
    share: float | None = None
    """A percentage that is drawn as a bar below the text."""


class _Tile(NamedTuple):
    value: str
    label: str
    mood: str = ""


class _Colour(NamedTuple):
    colour: str
    text: str
    shape: str = ""
    """"line" or "area", if the chart has the colour in one of these; an area is paler."""


class _Detail(NamedTuple):
    """What is drawn of one target."""

    id: str
    name: str
    about: str
    lag: Drawing
    distribution: Drawing
    quantiles: str
    cycle: Drawing | None
    cycle_about: str
    share_headings: Sequence[_Heading]
    shares: Sequence[Sequence[_Cell]]


def page(report: Report) -> str:
    """Return the HTML file."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    text = files("freshline.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(_content(report))


def _content(report: Report) -> dict[str, Any]:
    graph = report.graph
    locations = sorted({asset.location for asset in graph.assets.values()})
    detailed = [it for it in report.targets if it.lag.judged][:_DETAILED]
    used = {part for it in detailed if it.cycles for part in _parts(it.cycles)}
    costs = min(_COSTS, len(report.cost.assets))
    return {
        "title": "Freshness report",
        "short": _SHORT,
        "period": _period(report),
        "gaps": _gaps(report),
        "tiles": _tiles(report),
        "budget": _percent(1.0 - report.objective),
        "target_headings": _TARGETS,
        "targets": [_target(it, report) for it in report.targets],
        "notes": _notes(report),
        "breaches_summary": _breaches_summary(report),
        "breach_headings": _BREACH,
        "breaches": [_breach(it, report.end) for it in _longest(report.breaches)],
        "more_breaches": _more_breaches(report),
        "lag_legend": _LAG_LEGEND,
        "details": [
            _detail(it, report, locations, number) for number, it in enumerate(detailed, 1)
        ],
        "not_detailed": _not_detailed(report, len(detailed)),
        "part_legend": [
            *(
                _Colour(role.value, part.value)
                for part, role in COLOURS_OF_PARTS.items()
                if part in used
            ),
            *_teams(locations, "made by "),
        ],
        "cost_headings": _COST,
        "costs": _costs(report),
        "cost_chart": cost_chart(report, locations, costs) if costs else None,
        "cost_caption": _cost_caption(report, costs),
        "team_legend": _teams(locations),
        "lineage": lineage_drawing(graph, locations),
        "silence_headings": (_Heading("location"), _Heading("from"), _Heading("for", number=True)),
        "silences": [
            (
                _Cell(it.location),
                _Cell(clock(it.begin, report.end)),
                _Cell(span((report.end if it.end is None else it.end) - it.begin)),
            )
            for it in report.silences
        ],
        "footer": f"Made at {clock(report.end, report.end)} by freshline "
        f"{version('freshline')}. Times are in UTC.",
    }


def _percent(share: float) -> str:
    """Return a share as a percentage that never rounds up to a promise kept."""
    hundredths = int(share * 10_000 + 1e-6)
    return f"{hundredths / 100:g}%"


def _teams(locations: Sequence[str], before: str = "") -> list[_Colour]:
    return [_Colour(team(name, locations).value, before + name) for name in locations]


# --- the head -------------------------------------------------------------------------------


def _period(report: Report) -> str:
    begin, end = clock(report.begin, 0.0), clock(report.end, 0.0)
    return f"{begin} to {end}, {span(report.end - report.begin)}."


def _gaps(report: Report) -> str:
    """Say of which times nothing is known; "" if all is."""
    known = sum(time.seconds for time in report.times)
    missing = report.end - report.begin - known
    if missing < 1.0:
        return ""
    if not report.times:
        return "Nothing is known of that time."
    if len(report.times) == 1 and report.times[0].end >= report.end - 1.0:
        return f"The history begins at {clock(report.times[0].begin, report.end)}."
    return f"Of {span(missing)} of it nothing is known: events were deleted before they were kept."


def _tiles(report: Report) -> list[_Tile]:
    judged = [it for it in report.targets if it.lag.within is not None]
    kept = [it for it in judged if (it.lag.budget_left(report.objective) or 0.0) >= 0.0]
    broken = report.breaches
    longest = max((it.interval.seconds for it in broken), default=0.0)
    cost = report.cost
    tiles = []
    if judged:
        mood = "good" if len(kept) == len(judged) else "bad"
        tiles.append(_Tile(f"{len(kept)} of {len(judged)}", "promises within their budget", mood))
        total = sum(it.lag.seconds for it in judged)
        late = sum(interval.seconds for it in judged for interval in it.lag.late)
        tiles.append(_Tile(_percent(1.0 - late / total), "of all time in time"))
    tiles.append(
        _Tile(
            str(len(broken)),
            f"breaches, the longest {span(longest)}" if broken else "breaches",
        )
    )
    tiles.append(_Tile(f"{cost.syncs:.1f}", f"syncs an hour, of at least {cost.least_syncs:.1f}"))
    failed = f", {cost.failed} of them failed" if cost.failed else ""
    tiles.append(_Tile(f"{cost.runs * cost.hours:.0f}", f"runs{failed}"))
    return tiles


# --- promises -------------------------------------------------------------------------------

_TARGETS: Final = (
    _Heading("target"),
    _Heading("promise"),
    _Heading("kept", number=True),
    _Heading("error budget left", number=True),
    _Heading("lag: half of the time", number=True),
    _Heading("99% of it", number=True),
    _Heading("longest", number=True),
    _Heading("now"),
)


def _target(target: TargetReport, report: Report) -> list[_Cell]:
    lag = target.lag
    left, within = lag.budget_left(report.objective), lag.within
    plan = target.stands
    now = _Cell("not known")
    if plan is not None:
        good = plan.status is TargetStatus.FRESH
        now = _Cell(plan.status.value, "good" if good else "bad")
    return [
        _Cell(target.key),
        _Cell(_promise(target)),
        _Cell("not judged" if within is None else _percent(within)),
        _budget(left),
        _lag(lag.quantile(0.5)),
        _lag(lag.quantile(0.99)),
        _lag(lag.longest),
        now,
    ]


def _promise(target: TargetReport) -> str:
    policy = target.lag.policy
    if policy.cron is None:
        return f"at most {span(target.lag.maximum)}"
    zone = policy.timezone or "UTC"
    return f"at most {span(target.lag.maximum)} at {policy.cron} ({zone})"


def _budget(left: float | None) -> _Cell:
    if left is None:
        return _Cell("not judged")
    if left < 0.0:
        return _Cell(f"none: used {1.0 - left:.1f} times", "bad", 100.0)
    return _Cell(f"{100.0 * left:.0f}%", "good", round(100.0 * left, 1))


def _lag(lag: float | None) -> _Cell:
    return _Cell("unknown") if lag is None else _Cell(span(lag))


def _notes(report: Report) -> list[str]:
    notes = []
    if report.not_followed:
        names = quoted(report.not_followed).replace("`", "")
        notes.append(f"Not judged: {names}. Such a target does not age.")
    late = [it for it in report.targets if it.since > report.begin + 60.0]
    notes.extend(
        f"{it.key} is judged from {clock(it.since, report.end)} on: its policy was new, and older "
        "data was never promised."
        for it in late[:_DETAILED]
    )
    return notes


# --- breaches -------------------------------------------------------------------------------

_BREACH: Final = (
    _Heading("from"),
    _Heading("target"),
    _Heading("for", number=True),
    _Heading("longest lag", number=True),
    _Heading("held up by"),
)


def _longest(breaches: Iterable[Breach]) -> list[Breach]:
    longest = sorted(breaches, key=lambda it: -it.interval.seconds)[:_BREACHES]
    return sorted(longest, key=lambda it: it.interval, reverse=True)


def _breach(breach: Breach, now: float) -> list[_Cell]:
    named = breach.causes[:_CAUSES]
    text = "; ".join(_cause(cause, alone=len(breach.causes) == 1) for cause in named)
    if len(breach.causes) > len(named):
        text += f"; and {len(breach.causes) - len(named)} more"
    return [
        _Cell(clock(breach.interval.begin, now)),
        _Cell(breach.target),
        _Cell(span(breach.interval.seconds)),
        _lag(breach.longest),
        _Cell(text),
    ]


def _cause(cause: Cause, *, alone: bool) -> str:
    share = "" if alone else f"{span(cause.seconds)}: "
    where = f" ({cause.location})" if cause.location and cause.location not in cause.reason else ""
    return f"{share}{cause.reason}{where}"


def _breaches_summary(report: Report) -> str:
    breaches = report.breaches
    total = sum(it.interval.seconds for it in breaches)
    by_location = sorted(share_of_causes(breaches).items(), key=lambda item: -item[1])
    parts = [f"{location or 'not recorded'} {span(seconds)}" for location, seconds in by_location]
    return f"{span(total)} in all, by what held the targets up: {', '.join(parts)}."


def _more_breaches(report: Report) -> str:
    more = len(report.breaches) - _BREACHES
    return f"{more} shorter ones are not listed." if more > 0 else ""


# --- lag and cycles -------------------------------------------------------------------------

_LAG_LEGEND: Final = (
    _Colour(Role.LAG.value, "lag, from the shortest to the longest where versions are many"),
    _Colour(Role.PROMISE.value, "the most that is promised", "line"),
    _Colour(Role.LATE.value, "promise broken", "area"),
    _Colour(Role.SILENT.value, "a location was not heard of"),
)


def _detail(target: TargetReport, report: Report, locations: Sequence[str], number: int) -> _Detail:
    cycles = target.cycles
    return _Detail(
        id=f"target-{number}",
        name=target.key,
        about=_about(target, report),
        lag=lag_chart(target, report, number),
        distribution=distribution_chart(target, number),
        quantiles=_quantiles(target),
        cycle=cycle_chart(cycles, locations, number) if cycles else None,
        cycle_about=_cycle_about(cycles, report.end) if cycles else "",
        share_headings=_share_headings(cycles) if cycles else (),
        shares=_shares(cycles) if cycles else (),
    )


def _about(target: TargetReport, report: Report) -> str:
    lag = target.lag
    unit = "ticks" if lag.policy.cron else ""
    broken = f"{lag.broken:.0f} {unit}" if unit else span(lag.broken)
    allowed = (1.0 - report.objective) * lag.judged
    budget = f"{allowed:.1f} {unit}" if unit else span(allowed)
    until = ""
    stretch = lag.stretches[-1] if lag.stretches else None
    if stretch and stretch.data_time is not None and stretch.end >= report.end - 1.0:
        good_until = deadline(lag.policy, stretch.data_time)
        if good_until > report.end:
            until = f" At the end it was good until {clock(good_until, report.end)}."
    return f"{_promise(target)}; late for {broken} of the {budget} in its budget.{until}"


def _quantiles(target: TargetReport) -> str:
    found = [(name, target.lag.quantile(share)) for name, share in _QUANTILES]
    known = [f"{name}: {span(lag)}" for name, lag in found if lag is not None]
    unknown = target.lag.unknown
    if unknown >= 1.0:
        known.append(f"unknown for {span(unknown)}")
    return f"The lag was at most, for a share of time: {', '.join(known)}." if known else ""


_QUANTILES: Final = (("50%", 0.5), ("90%", 0.9), ("99%", 0.99), ("99.9%", 0.999))


def _parts(cycles: Cycles) -> set[Part]:
    return {it.part for stop in cycles.usual.stops for it in stop.spans}


def _cycle_about(cycles: Cycles, now: float) -> str:
    usual = cycles.usual
    begin = clock(usual.data_time, now)
    return f"{span(usual.seconds)} from {begin}; {cycles.count} cycles were measured."


def _share_headings(cycles: Cycles) -> list[_Heading]:
    parts = [part for part in Part if any(it.seconds.get(part) for it in cycles.shares)]
    names = [_Heading(part.value, number=True) for part in parts]
    return [_Heading("asset"), _Heading("location"), *names, _Heading("share", number=True)]


def _shares(cycles: Cycles) -> list[list[_Cell]]:
    parts = [part for part in Part if any(it.seconds.get(part) for it in cycles.shares)]
    total = sum(sum(it.seconds.values()) for it in cycles.shares) or 1.0
    return [
        [
            _Cell(it.key),
            _Cell(it.location),
            *(_Cell(f"{it.seconds.get(part, 0.0):.1f} s") for part in parts),
            _Cell(f"{100.0 * sum(it.seconds.values()) / total:.0f}%"),
        ]
        for it in cycles.shares
    ]


def _not_detailed(report: Report, detailed: int) -> str:
    more = len(report.targets) - detailed
    if more <= 0:
        return ""
    return f"{more} more targets, with more of their budget left, are in the table above alone."


# --- cost -----------------------------------------------------------------------------------

_COST: Final = (
    _Heading("an hour"),
    _Heading("was", number=True),
    _Heading("at least", number=True),
    _Heading("times the least", number=True),
)


def _costs(report: Report) -> list[list[_Cell]]:
    cost = report.cost
    rows = [
        ("syncs", cost.syncs, cost.least_syncs),
        ("runs", cost.runs, cost.least_runs),
        ("versions", cost.versions, cost.least_versions),
        ("seconds of work", cost.work, cost.least_work),
    ]
    return [
        [
            _Cell(name),
            _Cell(f"{was:.1f}"),
            _Cell(f"{least:.1f}"),
            _Cell(f"{was / least:.2f}" if least > 0.0 else "-"),
        ]
        for name, was, least in rows
    ]


def _cost_caption(report: Report, shown: int) -> str:
    more = len(report.cost.assets) - shown
    rest = f" {more} more assets are made less often." if more else ""
    return f"Bars: how often each asset was made. Lines: the least that its promises need.{rest}"
