"""The charts of the page, each of one subject."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from itertools import pairwise
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from freshline.report import Report, TargetReport
from freshline.report.cycle import Cycles, Part
from freshline.report.drawing import TEAMS, Drawing, Role, Size, draw
from freshline.report.lag import Interval, Lag
from freshline.words import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS_OF_PARTS",
    "cost_chart",
    "cycle_chart",
    "distribution_chart",
    "lag_chart",
    "team",
]

COLOURS_OF_PARTS: Final = {
    Part.HELD: Role.HELD,
    Part.TICK: Role.TICK,
    Part.QUEUE: Role.QUEUE,
    Part.START: Role.START,
}
"""What an asset makes has the colour of its location."""

_BINS: Final = 40
_ROW: Final = 38
"""Pixels of one asset in a chart of several."""


def team(location: str, locations: Sequence[str]) -> Role:
    """Return the colour of a location."""
    return Role[f"TEAM_{locations.index(location) % TEAMS + 1}"]


# --- lag over time ----------------------------------------------------------------------------


def lag_chart(target: TargetReport, report: Report, number: int) -> Drawing:
    """Return the lag of a target over time, against its promise. `number` is that of the target."""
    lag = target.lag
    unit = _unit(lag.maximum)
    top = _top(lag)

    def paint(figure: Figure, size: Size) -> None:
        axes = figure.subplots()
        least, most, times = _envelope(lag, Interval(report.begin, report.end), size.points)
        if least is None:
            axes.plot(_days(times), _in(unit, most), color=Role.LAG.number, linewidth=1.2)
        else:
            axes.fill_between(
                _days(times),
                _in(unit, least),
                _in(unit, most),
                color=Role.LAG.number,
                alpha=0.55,
                linewidth=0,
            )
        shortest = (report.end - report.begin) / size.width
        for late in lag.late:
            end = max(late.end, late.begin + shortest)
            begin, end = _days((late.begin, end))
            axes.axvspan(begin, end, color=Role.LATE.number, alpha=0.3, linewidth=0)
        for silence in report.silences:
            end = report.end if silence.end is None else silence.end
            begin, end = _days((max(silence.begin, report.begin), min(end, report.end)))
            axes.axvspan(begin, end, 0.0, 0.035, color=Role.SILENT.number, linewidth=0)
        axes.axhline(lag.maximum / unit.seconds, color=Role.PROMISE.number, linewidth=1.6)
        axes.set_ylim(0, top / unit.seconds)
        axes.set_ylabel(f"lag, {unit.name}")
        _time_axis(axes, report.begin, report.end, size)
        axes.grid(axis="y")

    about = f"The lag of {target.key} over time, against {span(lag.maximum)}."
    return draw(f"lag {number}", about, paint, (220, 190))


def _envelope(
    lag: Lag, time: Interval, points: int
) -> tuple[list[float] | None, list[float], list[float]]:
    """Return the shortest and the longest lag in each of `points` parts of a time, and its middle.

    If there are few versions, the first is None, and the others are the lag itself at each turn.
    """
    if len(lag.stretches) * 2 <= points:
        turns = [
            (at, _number(stretch.lag_at(at)))
            for stretch in lag.stretches
            for at in (stretch.begin, stretch.end)
        ]
        return None, [most for _, most in turns], [at for at, _ in turns]
    width = time.seconds / points
    least, most = [inf] * points, [-inf] * points
    for stretch in lag.stretches:
        first = max(0, int((stretch.begin - time.begin) / width))
        last = min(points - 1, int((stretch.end - time.begin) / width))
        for place in range(first, last + 1):
            begin = max(stretch.begin, time.begin + place * width)
            end = min(stretch.end, time.begin + (place + 1) * width)
            low, high = stretch.lag_at(begin), stretch.lag_at(end)
            if begin < end and low is not None and high is not None:
                least[place], most[place] = min(least[place], low), max(most[place], high)
    known = [high > -inf for high in most]
    return (
        [low if is_known else nan for low, is_known in zip(least, known, strict=True)],
        [high if is_known else nan for high, is_known in zip(most, known, strict=True)],
        [time.begin + (place + 0.5) * width for place in range(points)],
    )


def _number(lag: float | None) -> float:
    return nan if lag is None else lag


def _top(lag: Lag) -> float:
    """Return the longest lag that a chart shows: enough to see the promise among it."""
    longest = lag.longest or 0.0
    return max(1.25 * lag.maximum, min(1.05 * longest, 4.0 * lag.maximum))


# --- distribution -----------------------------------------------------------------------------


def distribution_chart(target: TargetReport, number: int) -> Drawing:
    """Return for which share of time a target had which lag."""
    lag = target.lag
    unit, top = _unit(lag.maximum), _top(target.lag)
    edges = [top * place / _BINS for place in range(_BINS + 1)]
    below = [lag.seconds_up_to(edge) for edge in edges]
    known = max(lag.seconds, 1e-9)
    shares = [100.0 * (upper - lower) / known for lower, upper in pairwise(below)]
    colours = [
        (Role.LAG if (low + high) / 2 <= lag.maximum else Role.LATE).number
        for low, high in pairwise(edges)
    ]

    def paint(figure: Figure, _: Size) -> None:
        axes = figure.subplots()
        axes.bar(
            _in(unit, edges[:-1]),
            shares,
            width=top / _BINS / unit.seconds,
            align="edge",
            color=colours,
            alpha=0.75,
            linewidth=0,
        )
        axes.axvline(lag.maximum / unit.seconds, color=Role.PROMISE.number, linewidth=1.6)
        axes.set_xlim(0, top / unit.seconds)
        axes.set_xlabel(f"lag, {unit.name}")
        axes.set_ylabel("% of time")
        axes.grid(axis="y")

    return draw(f"distribution {number}", f"The lags of {target.key}, by time.", paint, (190, 170))


# --- a cycle ----------------------------------------------------------------------------------


def cycle_chart(cycles: Cycles, locations: Sequence[str], number: int) -> Drawing:
    """Return the usual cycle of a target as a timeline: a row for each asset on the path."""
    usual = cycles.usual

    def paint(figure: Figure, size: Size) -> None:
        axes = figure.subplots()
        for row, stop in enumerate(usual.stops):
            colours = [
                COLOURS_OF_PARTS.get(it.part, team(stop.location, locations)).number
                for it in stop.spans
            ]
            axes.broken_barh(
                [(it.begin - usual.data_time, it.end - it.begin) for it in stop.spans],
                (row - 0.28, 0.56),
                facecolors=colours,
                linewidth=0,
            )
        _rows(axes, [(stop.key, stop.location) for stop in usual.stops], size)
        axes.axvline(0, color=Role.FAINT.number, linewidth=1, linestyle=":")
        axes.set_xlabel("seconds since the sync began to read")
        axes.grid(axis="x")

    about = f"A usual cycle of {cycles.target}: {span(usual.seconds)}, as a timeline."
    height = 60 + _ROW * len(usual.stops)
    return draw(f"cycle {number}", about, paint, (height, height))


# --- cost -------------------------------------------------------------------------------------


def cost_chart(report: Report, locations: Sequence[str], shown: int) -> Drawing:
    """Return how often the `shown` costliest assets are made, and how often they had to be."""
    assets = sorted(report.cost.assets, key=lambda it: -it.versions)[:shown]

    def paint(figure: Figure, size: Size) -> None:
        axes = figure.subplots()
        rows = range(len(assets))
        colours = [team(it.location, locations).number for it in assets]
        axes.barh(rows, [it.versions for it in assets], 0.56, color=colours, linewidth=0)
        least = [(row, it.least) for row, it in enumerate(assets) if it.least is not None]
        above = 0.4 if size.is_wide else 0.28  # names are above the bars of narrow charts
        axes.vlines(
            [rate for _, rate in least],
            [row - above for row, _ in least],
            [row + 0.4 for row, _ in least],
            color=Role.INK.number,
            linewidth=2,
        )
        _rows(axes, [(it.key, it.location) for it in assets], size)
        axes.set_xlim(left=0)
        axes.set_xlabel("versions an hour")
        axes.grid(axis="x")

    about = "How often each asset is made, and the least that its promises need."
    height = 60 + _ROW * max(1, len(assets))
    return draw("cost", about, paint, (height, height))


# --- what charts have in common ---------------------------------------------------------------


class _Unit(NamedTuple):
    name: str
    seconds: float


def _unit(maximum: float) -> _Unit:
    """Return the unit in which a maximum lag is a number of some size."""
    if maximum < 180.0:
        return _Unit("seconds", 1.0)
    if maximum < 3 * 3600.0:
        return _Unit("minutes", 60.0)
    return _Unit("hours", 3600.0)


def _in(unit: _Unit, seconds: Sequence[float]) -> list[float]:
    return [nan if isnan(it) else it / unit.seconds for it in seconds]


def _days(times: Sequence[float]) -> list[float]:
    """Return epoch seconds as matplotlib counts time: in days since 1970 (UTC)."""
    return [at / 86_400.0 for at in times]


def _time_axis(axes: Axes, begin: float, end: float, size: Size) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    # This module of matplotlib has no types.
    locator_of: Any = AutoDateLocator
    formatter_of: Any = ConciseDateFormatter
    locator = locator_of(tz=UTC, minticks=3, maxticks=9 if size.is_wide else 5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter_of(locator, tz=UTC, show_offset=False))
    left, right = _days((begin, end))
    axes.set_xlim(left, right)


def _rows(axes: Axes, names: Sequence[tuple[str, str]], size: Size) -> None:
    """Name the rows by asset and location: beside them, or where that leaves no room, above."""
    axes.set_ylim(len(names) - 0.4, -0.75)
    if size.is_wide:
        axes.set_yticks(range(len(names)), [f"{key}\n{location}" for key, location in names])
        return
    axes.set_yticks([])
    for row, (key, location) in enumerate(names):
        axes.annotate(
            f"{key} ({location})",
            (0, row - 0.32),
            xycoords=("axes fraction", "data"),
            fontsize=10,
            va="bottom",
        )
