"""Policies that cannot be held, given how long things take.

Durations come, for each asset, from the first of these that knows: what was measured, what is
declared (`freshline/expected_seconds`, or a file), and a floor that no run gets below. With the
floor alone only the plainly impossible is found; nothing is reported on a guess.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from freshline.check.finding import Finding, Rule, Severity, Workspace
from freshline.contract.document import Contract
from freshline.contract.graph import graph_of
from freshline.model import AssetState, Durations, Moments, Snapshot
from freshline.planner.estimate import Span
from freshline.planner.facts import Facts, facts_of
from freshline.planner.lineage import Lineage, lineage_of
from freshline.policy import MaxLag, partitioned_message

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

# Enough runs that the planner adds no doubt of its own to what was declared.
_CERTAIN: Final = 1000


class Infeasible(NamedTuple):
    """A policy that its path cannot hold."""

    key: str
    policy: MaxLag
    seconds: float
    """The smallest maximum lag that the path could hold."""
    by_location: Mapping[str, float]
    """The same seconds, by the location that takes them, the longest first."""
    measured: bool
    """Whether every asset on the path was measured or declared; otherwise it takes longer yet."""


def check_policies(
    workspace: Workspace, measured: Mapping[str, Durations] | None = None
) -> Iterator[Finding]:
    """Policies that cannot be held, and policies on assets that cannot have one."""
    for subject in workspace.subjects:
        for export in subject.contract.exports if subject.contract else ():
            if export.partitioned and export.policy:
                file = subject.file_of(export)
                message = partitioned_message(export.key, file)
                yield Finding(
                    Rule.POLICY,
                    subject.location,
                    message,
                    key=export.key,
                    file=file,
                )
    for miss in infeasible(workspace.contracts, measured or {}, workspace.seconds):
        made = workspace.export(miss.key)
        if made and not made[1].partitioned:
            subject, export = made
            yield Finding(
                Rule.POLICY,
                subject.location,
                f"`{miss.key}`: {explain(miss)}",
                f"Ask for {spoken(miss.seconds)} or more, or make the path shorter.",
                key=miss.key,
                file=subject.file_of(export),
            )
    yield from _unscheduled(workspace)


def infeasible(
    contracts: Iterable[Contract],
    measured: Mapping[str, Durations],
    declared: Mapping[str, float] | None = None,
) -> list[Infeasible]:
    """The policies that cannot be held, by key.

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
    states = {
        key: AssetState(durations=_durations(measured.get(key), seconds.get(key)))
        for key in lineage.graph.assets
    }
    facts = facts_of(lineage, Snapshot(states), now=0.0)
    known = {key for key, durations in measured.items() if durations.execution} | set(seconds)
    misses = (_miss(lineage, facts, key, known) for key in lineage.policies)
    return [miss for miss in misses if miss]


def explain(miss: Infeasible) -> str:
    """One sentence: what is asked, what the path takes, and where."""
    shares = [
        f"{spoken(seconds)} of it in `{location}`" for location, seconds in miss.by_location.items()
    ]
    takes = "the path takes" if miss.measured else "the path takes at the very least"
    asked = spoken(miss.policy.minutes * 60)
    # Data is oldest just before it is replaced: a run in progress has to end first.
    before = "" if miss.policy.cron else ", waiting for the run before it included"
    return f"{asked} asked, {takes} {spoken(miss.seconds)}{before}: {', '.join(shares)}."


def spoken(seconds: float) -> str:
    """A duration for people: 20 s, 3 min 10 s, 2 h 5 min."""
    whole = max(1, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    parts = [(hours, "h"), (minutes, "min"), (rest if not hours else 0, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _durations(measured: Durations | None, declared: float | None) -> Durations:
    if measured and measured.execution:
        return measured
    execution = declared if declared is not None else FLOOR_EXECUTION
    return Durations(
        queue=Moments(_CERTAIN, 0.0, 0.0),
        start=Moments(_CERTAIN, FLOOR_LAUNCH, 0.0),
        execution=Moments(_CERTAIN, max(execution, FLOOR_EXECUTION), 0.0),
    )


def _miss(lineage: Lineage, facts: Facts, key: str, known: set[str]) -> Infeasible | None:
    policy = lineage.policies[key]
    seconds = facts.shortest(key, policy)
    if seconds <= policy.minutes * 60.0:
        return None
    path = _slowest_path(lineage, facts, key)
    shares = _shares(lineage, facts, path, with_run_before=policy.cron is None)
    scale = seconds / sum(shares.values())
    return Infeasible(
        key,
        policy,
        seconds,
        {
            location: shares[location] * scale
            for location in sorted(shares, key=lambda location: (-shares[location], location))
        },
        measured=all(step in known for step in path),
    )


def _slowest_path(lineage: Lineage, facts: Facts, key: str) -> list[str]:
    """The way that decides how long the target takes, from the target to a root."""
    path = [key]
    while True:
        inputs = [dep for dep in lineage.inputs[path[-1]] if dep in facts.routes]
        inputs = [dep for dep in inputs if dep not in path]
        if not inputs:
            return path
        path.append(max(inputs, key=lambda dep: (facts.routes[dep].path.mean, dep)))


def _shares(
    lineage: Lineage, facts: Facts, path: list[str], *, with_run_before: bool
) -> dict[str, float]:
    """Seconds on `path` by location, with those of the slowest run that has to end before."""
    shares: dict[str, float] = defaultdict(float)
    steps: dict[str, Span] = {}
    for key in path:
        stage = facts.stages[key]
        root = key == path[-1]
        mean = stage.execution.mean if root else stage.wait.then(stage.run).mean
        steps[key] = stage.run if root else stage.wait.then(stage.run)
        shares[lineage.graph.assets[key].location] += mean
    if with_run_before:
        slowest = max(path, key=lambda key: (steps[key].mean, key))
        shares[lineage.graph.assets[slowest].location] += steps[slowest].mean
    return shares


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
