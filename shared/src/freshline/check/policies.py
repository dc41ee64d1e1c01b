"""Policies that cannot be held, given how long things take.

The durations of an asset are those that were measured; else those that are declared
(`freshline/expected_seconds`, or a file); else a floor below which no run gets. Nothing is reported
on a guess: with the floor alone, only policies that no run could ever hold are found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from freshline.check.finding import Finding, Rule, Workspace
from freshline.check.written import check_written
from freshline.model import Durations, Graph, Moments
from freshline.planner import ShortestLag, shortest_lags
from freshline.policy import MaxLag, partitioned_message
from freshline.words import at_least, span

__all__ = [
    "FLOOR_EXECUTION",
    "FLOOR_LAUNCH",
    "Infeasible",
    "check_policies",
    "infeasible",
    "spoken",
]

FLOOR_LAUNCH: Final = 5.0
"""Seconds from a run's request to its first step, at least: it passes the queue, which the daemon
reads every few seconds, and starts a process that imports Dagster."""

FLOOR_EXECUTION: Final = 1.0
"""Seconds that making an asset takes, at least."""


class Infeasible(NamedTuple):
    """A policy that its path cannot hold."""

    key: str
    policy: MaxLag
    shortest: ShortestLag
    bound: str
    """Which asset on the path may be made how often, if that is what takes long; else ""."""
    window: str
    """Which asset has to wait for the end of a time window, if that is what takes long; else ""."""
    measured: bool
    """Whether every asset on the path was measured or declared; if not, it takes even longer."""


def check_policies(
    workspace: Workspace, measured: Mapping[str, Durations] | None = None
) -> Iterator[Finding]:
    """Yield a finding for each policy that cannot be held, or whose asset cannot have one."""
    for location in workspace.locations:
        for export in location.contract.exports if location.contract else ():
            if export.policy and export.unfollowed:
                file = location.file_of(export)
                message = partitioned_message(export.key, file, export.unfollowed)
                yield Finding(
                    Rule.POLICY,
                    location.name,
                    message,
                    key=export.key,
                    file=file,
                )
    for problem in infeasible(workspace, measured or {}):
        made = workspace.export(problem.key)
        if made and not made[1].unfollowed:
            location, export = made
            yield Finding(
                Rule.POLICY,
                location.name,
                f"`{problem.key}`: {explain(problem)}",
                f"Ask for {at_least(problem.shortest.seconds)} or more, or make the path shorter.",
                key=problem.key,
                file=location.file_of(export),
            )
    yield from check_written(workspace)


def infeasible(workspace: Workspace, measured: Mapping[str, Durations]) -> list[Infeasible]:
    """Return the policies that cannot be held, by key; `measured` are durations by asset key."""
    lineage, seconds = workspace.lineage, workspace.expected_seconds
    durations = {
        key: _durations(measured.get(key), seconds.get(key)) for key in lineage.graph.assets
    }
    known = {key for key, one in measured.items() if one.execution} | set(seconds)
    return [
        Infeasible(
            key,
            policy,
            shortest,
            bound=_bound(lineage.graph, shortest),
            window=_window(lineage.graph, shortest),
            measured=known.issuperset(shortest.path),
        )
        for key, shortest in shortest_lags(lineage, durations).items()
        if shortest.seconds > (policy := lineage.policies[key]).minutes * 60.0
    ]


def explain(problem: Infeasible) -> str:
    """Return one sentence: what is asked, what the path takes, and in which locations."""
    shares = [
        f"{spoken(seconds)} of it in `{location}`"
        for location, seconds in problem.shortest.by_location.items()
    ]
    takes = "the path takes" if problem.measured else "the path takes at the very least"
    asked = spoken(problem.policy.minutes * 60)
    # Data is oldest just before it is replaced: a run in progress has to end first.
    has_run_before = not (problem.policy.cron or problem.window)
    before = ", including the wait for the run before it" if has_run_before else ""
    return (
        f"{asked} asked, {takes} {at_least(problem.shortest.seconds)}{before}: {', '.join(shares)}."
        f"{problem.window or problem.bound}"
    )


def _bound(graph: Graph, shortest: ShortestLag) -> str:
    slowest = max(shortest.path, key=lambda key: graph.assets[key].at_most_every)
    seconds = graph.assets[slowest].at_most_every
    if seconds < shortest.seconds / 2:
        return ""
    maker = graph.assets[slowest].location
    return f" `{slowest}` of `{maker}` is made at most every {spoken(seconds)}."


def _window(graph: Graph, shortest: ShortestLag) -> str:
    lengths = {
        key: windows.longest(windows.start)
        for key in shortest.path
        if (windows := graph.assets[key].windows) and not windows.has_open_window
    }
    if not lengths or max(lengths.values()) < shortest.seconds / 2:
        return ""
    key = max(lengths, key=lambda key: lengths[key])
    length = spoken(lengths[key])
    maker = graph.assets[key].location
    return f" `{key}` of `{maker}` has partitions of {length}, each made when it has ended."


def spoken(seconds: float) -> str:
    """Return a duration as people read it, a second at least: 20 s, 3 min 10 s, 2 h 5 min."""
    return span(max(1.0, seconds))


def _durations(measured: Durations | None, declared: float | None) -> Durations:
    if measured and measured.execution:
        return measured
    execution = declared if declared is not None else FLOOR_EXECUTION
    return Durations(
        queue=Moments.declared(0.0),
        start=Moments.declared(FLOOR_LAUNCH),
        execution=Moments.declared(max(execution, FLOOR_EXECUTION)),
    )
