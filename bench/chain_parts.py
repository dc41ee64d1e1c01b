"""Where the seconds of a chain went, and the tables of `chain.py`.

A chain goes from a star to the mart that has it. It is cut into parts at times that Dagster's event
log has, that dbt has measured, or at which the warehouse showed the star. Each part begins where
the one before ends. So the parts of a round add up to its time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import dagster as dg
from processes import Life

__all__ = [
    "CUMULATIVE",
    "JOIN",
    "ROOT_ASSET",
    "STARGAZER",
    "Build",
    "Made",
    "Round",
    "Run",
    "Steps",
    "kept",
    "parts_of_runs",
    "read_run",
    "section",
]

ROOT_ASSET: Final = "postgres/stargazers"
STARGAZER: Final = "mart/mart_gh_stargazer"
CUMULATIVE: Final = "mart/mart_gh_cumulative"
JOIN: Final = "mart/mart_gh_join"

TICK = "wait for a tick"
QUEUE = "queue"
LAUNCH = "launch, until the run's first step begins"
ASKED = "until Airbyte starts the connector"
CONNECTOR = "connector"
LOAD = "load, after the connector's end"
DBT_STARTS = "until dbt builds its first model"
DBT_BUILDS = "dbt's models"
DBT_ENDS = "dbt's tests and end"
EVENTS = "what was made is noted"
PARTS: Final = (
    *(TICK, QUEUE, LAUNCH, ASKED, CONNECTOR, LOAD),
    *(DBT_STARTS, DBT_BUILDS, DBT_ENDS, EVENTS),
)

MOST_RATIO: Final = 1.0
"""How long our chain may take, compared with the bare tools."""
MOST_CPU_OF_A_BUILD: Final = 1.5
"""Seconds of CPU, of all processes, that one materialization by dbt may cost."""


@dataclass(frozen=True)
class Made:
    """An asset that a run has made: when (epoch seconds), and how long dbt took for it."""

    at: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """A run. Times are in epoch seconds."""

    requested: float
    dequeued: float
    began: float
    """When its first step began."""
    ended: float
    made: Mapping[str, Made]


@dataclass(frozen=True)
class Build:
    """One materialization by dbt, from the request of its run to a second after its end."""

    seconds: float
    cpu: float
    """Of all processes, in seconds."""
    idle: float
    """What the same processes use in that time when there is nothing to do."""


@dataclass(frozen=True)
class Round:
    """One chain."""

    parts: Mapping[str, float]
    """Seconds from the star to the mart that has it."""
    checked: float
    """Seconds from the star until all that was built is tested as well."""
    cpu: Mapping[str, float]
    """Seconds of CPU until then, by what processes are for."""
    idle: float
    """Seconds of CPU that all processes use in a second when there is nothing to do."""
    build: Build | None = None

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())

    @property
    def cpu_in_all(self) -> float:
        return sum(self.cpu.values())


class Steps:
    """The parts of a chain, each from the end of the one before."""

    def __init__(self, begin: float) -> None:
        self._at = begin
        self.parts = dict.fromkeys(PARTS, 0.0)

    def until(self, at: float, part: str) -> None:
        """Add the time until `at` (epoch seconds) to `part`."""
        self.parts[part] += at - self._at
        self._at = at

    def until_dbt_has_built(self, began: float, built: float) -> None:
        """Add the time until dbt began its first model, and until its last one was there."""
        self.until(began, DBT_STARTS)
        self.until(built, DBT_BUILDS)

    def until_loaded(self, connector: Life, load: Life) -> None:
        self.until(connector.first, ASKED)
        self.until(connector.last, CONNECTOR)
        self.until(load.last, LOAD)

    def until_noted(self, at: float) -> None:
        self.until(at, EVENTS)

    def until_tested(self, at: float) -> None:
        self.until(at, DBT_ENDS)


def read_run(instance: dg.DagsterInstance, record: dg.RunRecord) -> Run:
    """Return what the event log has of a run that has ended. Raises `LookupError`."""
    times: dict[str, float] = {}
    made: dict[str, Made] = {}
    for entry in instance.all_logs(record.dagster_run.run_id):
        if entry.dagster_event is not None:
            times.setdefault(entry.dagster_event.event_type_value, entry.timestamp)
        event = entry.asset_materialization
        if event is not None:
            seconds = event.metadata.get("Execution Duration")
            key = event.asset_key.to_user_string()
            made[key] = Made(entry.timestamp, float(str(seconds.value)) if seconds else 0.0)
    return Run(
        requested=record.create_timestamp.timestamp(),
        dequeued=times["PIPELINE_STARTING"],
        began=times["STEP_START"],
        ended=record.end_time or times["PIPELINE_SUCCESS"],
        made=made,
    )


def parts_of_runs(
    begin: float,
    runs: Sequence[Run],
    visible: Mapping[str, float],
    connector: Life,
    load: Life,
) -> tuple[dict[str, float], Run]:
    """Return the parts of a chain of runs, and the run that made the last mart.

    `visible` is when each model's table had the star. Of two runs that the last one has waited for,
    the later one counts. Raises `LookupError` if runs are missing.
    """
    # It is looked for the star every so often: the event may be there a moment before.
    last = _first_after(runs, JOIN, visible[JOIN] - 1.0)
    sync = _first_after(runs, ROOT_ASSET, begin)
    before = [
        (run.made[key].at, key, run)
        for run in runs
        for key in (STARGAZER, CUMULATIVE)
        if run is not last and key in run.made and run.made[key].at <= last.began
    ]
    if not before:
        raise LookupError(f"no run has made {STARGAZER} before {JOIN}")
    steps = Steps(begin)
    _until_begun(steps, sync)
    steps.until_loaded(connector, load)
    steps.until_noted(sync.made[ROOT_ASSET].at)
    noted, key, run = max(before, key=lambda item: item[0])
    _until_begun(steps, run)
    steps.until_dbt_has_built(visible[key] - run.made[key].seconds, visible[key])
    steps.until_noted(noted)
    _until_begun(steps, last)
    first = CUMULATIVE if CUMULATIVE in last.made else JOIN
    steps.until_dbt_has_built(visible[first] - last.made[first].seconds, visible[JOIN])
    return steps.parts, last


def _first_after(runs: Sequence[Run], key: str, at: float) -> Run:
    found = [run for run in runs if key in run.made and run.made[key].at >= at]
    if not found:
        raise LookupError(f"no run has made {key} since then")
    return min(found, key=lambda run: run.made[key].at)


def _until_begun(steps: Steps, run: Run) -> None:
    steps.until(run.requested, TICK)
    steps.until(run.dequeued, QUEUE)
    steps.until(run.began, LAUNCH)


# --- the report ---------------------------------------------------------------------------


def kept(rounds: Mapping[str, Sequence[Round]]) -> bool:
    """Return whether our chain, the second of `rounds`, costs no more than it may."""
    bare, ours, _ = rounds.values()
    in_time = median(_ratios(ours, bare)) <= MOST_RATIO
    return in_time and _cpu_of_a_build(ours) <= MOST_CPU_OF_A_BUILD


def section(rounds: Mapping[str, Sequence[Round]], load: float) -> str:
    """Return the tables of the chains, by the name of what was measured: bare, ours, defaults.

    `load` is the machine's load average before.
    """
    middles = {name: _middle(several) for name, several in rounds.items()}
    number = len(next(iter(rounds.values())))
    head = (
        f"{number} rounds on {os.cpu_count()} cores, load average before {load:.1f}. Each column "
        "is the round with the median time."
    )
    lines = [
        *(head, ""),
        *_table("seconds from the star to `mart_gh_join`", _rows_of_time(middles), middles),
        "",
        *_table("seconds of CPU until all is tested", _rows_of_cpu(middles), middles),
        "",
        *_results(*rounds.values()),
    ]
    return "\n".join(lines)


def _results(
    bare: Sequence[Round], ours: Sequence[Round], defaults: Sequence[Round]
) -> Iterator[str]:
    yield (
        f"- Our chain takes {_spread(_ratios(ours, bare))} times as long as the bare tools, from "
        f"the star to the mart that has it (goal: {MOST_RATIO:.1f}), and "
        f"{_spread(_ratios(ours, bare, cpu=True))} times their CPU."
    )
    yield (
        f"- Dagster's defaults take {_spread(_ratios(defaults, ours))} times as long as our chain, "
        f"and {_spread(_ratios(defaults, ours, cpu=True))} times its CPU."
    )
    yield (
        "- One materialization of `mart_gh_join` with its tests, from the request of its run until "
        f"a second after its end, costs {_cpu_of_a_build(ours):.2f} s of CPU of all processes "
        f"beyond what they use when idle (goal: {MOST_CPU_OF_A_BUILD}); {_build(ours)}. With "
        f"Dagster's defaults it costs {_cpu_of_a_build(defaults):.2f} s; {_build(defaults)}."
    )


def _rows_of_time(middles: Mapping[str, Round]) -> list[tuple[str, list[float]]]:
    rows = [(part, [one.parts[part] for one in middles.values()]) for part in PARTS]
    return [
        *rows,
        ("**in all**", [one.seconds for one in middles.values()]),
        ("until all is tested", [one.checked for one in middles.values()]),
    ]


def _rows_of_cpu(middles: Mapping[str, Round]) -> list[tuple[str, list[float]]]:
    kinds = sorted(
        {kind for one in middles.values() for kind in one.cpu},
        key=lambda kind: -sum(one.cpu.get(kind, 0.0) for one in middles.values()),
    )
    rows = [(kind, [one.cpu.get(kind, 0.0) for one in middles.values()]) for kind in kinds]
    return [
        *(row for row in rows if max(row[1]) >= 0.05),
        ("**in all**", [one.cpu_in_all for one in middles.values()]),
        ("a minute in which nothing is to do", [60 * one.idle for one in middles.values()]),
    ]


def _table(
    title: str, rows: Sequence[tuple[str, list[float]]], middles: Mapping[str, Round]
) -> list[str]:
    return [
        f"| {title} | {' | '.join(middles)} |",
        f"| --- |{' ---: |' * len(middles)}",
        *(f"| {name} | {' | '.join(_shown(value) for value in values)} |" for name, values in rows),
    ]


def _shown(seconds: float) -> str:
    return f"{seconds:.1f}" if abs(seconds) >= 0.05 else ""


def _middle(rounds: Sequence[Round]) -> Round:
    return sorted(rounds, key=lambda one: one.seconds)[(len(rounds) - 1) // 2]


def _ratios(these: Sequence[Round], those: Sequence[Round], *, cpu: bool = False) -> list[float]:
    """Return the ratio of each round of `these` to the same round of `those`."""
    pairs = zip(these, those, strict=True)
    if cpu:
        return [one.cpu_in_all / other.cpu_in_all for one, other in pairs]
    return [one.seconds / other.seconds for one, other in pairs]


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _builds(rounds: Sequence[Round]) -> list[Build]:
    return [one.build for one in rounds if one.build is not None]


def _cpu_of_a_build(rounds: Sequence[Round]) -> float:
    return median(build.cpu - build.idle for build in _builds(rounds))


def _build(rounds: Sequence[Round]) -> str:
    whole = median(build.cpu for build in _builds(rounds))
    seconds = median(build.seconds for build in _builds(rounds))
    return f"{whole:.2f} s with that, in {seconds:.1f} s"
