"""Policies that cannot be held, given how long things take.

Durations come, for each asset, from the first of these that knows: what was measured, what is
declared (`freshline/expected_seconds`, or a file), and a floor that no run gets below. With the
floor alone only the plainly impossible is found; nothing is reported on a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from freshline.check.finding import Finding, Rule, Severity, Workspace
from freshline.contract.document import Contract
from freshline.contract.graph import graph_of
from freshline.model import Durations, Moments
from freshline.planner import ShortestLag, lineage_of, shortest_lags
from freshline.policy import MaxLag, partitioned_message
from freshline.words import span

__all__ = [
    "FLOOR_EXECUTION",
    "FLOOR_LAUNCH",
    "Infeasible",
    "check_policies",
    "infeasible",
    "spoken",
]

FLOOR_LAUNCH: Final = 5.0
"""Seconds from a run's request to its first step, at least: it passes the queue, which is looked
at every few seconds, and starts a process that imports Dagster."""

FLOOR_EXECUTION: Final = 1.0
"""Seconds that making an asset takes, at least."""


class Infeasible(NamedTuple):
    """A policy that its path cannot hold."""

    key: str
    policy: MaxLag
    shortest: ShortestLag
    measured: bool
    """Whether every asset on the path was measured or declared; otherwise it takes longer yet."""


def check_policies(
    workspace: Workspace, measured: Mapping[str, Durations] | None = None
) -> Iterator[Finding]:
    """Policies that cannot be held, and policies on assets that cannot have one."""
    for location in workspace.locations:
        for export in location.contract.exports if location.contract else ():
            if export.partitioned and export.policy:
                file = location.file_of(export)
                message = partitioned_message(export.key, file)
                yield Finding(
                    Rule.POLICY,
                    location.name,
                    message,
                    key=export.key,
                    file=file,
                )
    for miss in infeasible(workspace.contracts, measured or {}, workspace.seconds):
        made = workspace.export(miss.key)
        if made and not made[1].partitioned:
            location, export = made
            yield Finding(
                Rule.POLICY,
                location.name,
                f"`{miss.key}`: {explain(miss)}",
                f"Ask for {spoken(miss.shortest.seconds)} or more, or make the path shorter.",
                key=miss.key,
                file=location.file_of(export),
            )
    yield from _unscheduled(workspace)


def infeasible(
    contracts: Iterable[Contract],
    measured: Mapping[str, Durations],
    declared: Mapping[str, float] | None = None,
) -> list[Infeasible]:
    """Return the policies that cannot be held, by key.

    `measured` are durations by asset key; `declared` are execution times in seconds, and count
    before those that the contracts declare.
    """
    given = list(contracts)
    seconds = {
        export.key: export.expected_seconds
        for contract in given
        for export in contract.exports
        if export.expected_seconds is not None
    }
    seconds.update(declared or {})
    lineage = lineage_of(graph_of(given))
    durations = {
        key: _durations(measured.get(key), seconds.get(key)) for key in lineage.graph.assets
    }
    known = {key for key, one in measured.items() if one.execution} | set(seconds)
    return [
        Infeasible(key, policy, shortest, measured=known.issuperset(shortest.path))
        for key, shortest in shortest_lags(lineage, durations).items()
        if shortest.seconds > (policy := lineage.policies[key]).minutes * 60.0
    ]


def explain(miss: Infeasible) -> str:
    """One sentence: what is asked, what the path takes, and where."""
    shares = [
        f"{spoken(seconds)} of it in `{location}`"
        for location, seconds in miss.shortest.by_location.items()
    ]
    takes = "the path takes" if miss.measured else "the path takes at the very least"
    asked = spoken(miss.policy.minutes * 60)
    # Data is oldest just before it is replaced: a run in progress has to end first.
    before = "" if miss.policy.cron else ", waiting for the run before it included"
    return f"{asked} asked, {takes} {spoken(miss.shortest.seconds)}{before}: {', '.join(shares)}."


def spoken(seconds: float) -> str:
    """A duration, a second at least: 20 s, 3 min 10 s, 2 h 5 min."""
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


def _unscheduled(workspace: Workspace) -> Iterator[Finding]:
    """Targets made from partitioned assets, which no plan requests."""
    lineage = lineage_of(graph_of(workspace.contracts))
    for key in lineage.policies:
        seen: set[str] = set()
        waiting = list(lineage.inputs[key])
        while waiting:
            dep = waiting.pop()
            if dep in seen:
                continue
            seen.add(dep)
            waiting.extend(lineage.inputs.get(dep, ()))
        stuck = sorted(dep for dep in seen if not lineage.graph.assets[dep].schedulable)
        if stuck:
            location = lineage.graph.assets[key].location
            yield Finding(
                Rule.POLICY,
                location,
                f"`{key}` carries a maximum lag and is made from `{stuck[0]}`, which is "
                "partitioned: freshline never requests it, so its own schedule has to.",
                key=key,
                severity=Severity.NOTE,
            )
