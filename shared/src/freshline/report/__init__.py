"""A report for people who look back: did the promises hold, what broke them, what did that cost?

`report_of` works it out from what `freshline.history.kept` knows of the past; nothing there reads a
database. `page` makes one HTML file of it, with the charts of `charts` and `lineage`; these need
the extra `report`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from freshline.history.past import Change, Past, Silence, Verdict
from freshline.model import Graph, Plan, TargetPlan
from freshline.planner.deadlines import deadline
from freshline.report.breaches import Breach, Cause, breaches_of
from freshline.report.cost import AssetCost, Cost, cost_of
from freshline.report.cycle import Cycles, Paths, cycles_of
from freshline.report.lag import Interval, Lag, lag_of, whole_times

__all__ = [
    "DEFAULT_OBJECTIVE",
    "AssetCost",
    "Breach",
    "Cause",
    "Cost",
    "Report",
    "TargetReport",
    "report_of",
]

DEFAULT_OBJECTIVE: Final = 0.995
"""The share of time in which a promise is to be kept. A policy promises all of it; the rest is the
budget for what no plan can prevent."""


@dataclass(frozen=True)
class TargetReport:
    """How well the promise of one target was kept."""

    key: str
    location: str
    lag: Lag
    breaches: Sequence[Breach]
    cycles: Cycles | None
    """None: no version of it is known with its whole path."""
    stands: TargetPlan | None
    """How it stands when the report is made."""
    since: float
    """From when on it was judged: its promise could be broken."""


@dataclass(frozen=True)
class Report:
    """What has happened from `begin` to `end` (UTC, epoch seconds)."""

    begin: float
    end: float
    times: Sequence[Interval]
    """The times in between of which the history is known."""
    objective: float
    graph: Graph
    targets: Sequence[TargetReport]
    """Those with the smallest share of their budget left come first."""
    not_followed: Sequence[str]
    """Targets of which nothing is said, because they do not age."""
    cost: Cost
    silences: Sequence[Silence]

    @property
    def breaches(self) -> list[Breach]:
        """All breaches, the oldest first."""
        found = [breach for target in self.targets for breach in target.breaches]
        return sorted(found, key=lambda breach: breach.interval)


def report_of(
    graph: Graph,
    past: Past,
    begin: float,
    end: float,
    *,
    promised: Mapping[str, float] | None = None,
    plan: Plan | None = None,
    objective: float = DEFAULT_OBJECTIVE,
) -> Report:
    """Return the report on what `past` knows from `begin` to `end`.

    `graph` is what the contracts say at the end; so policies are judged as they are then.
    `promised` says since when each policy is there. Data of before was never promised, so a target
    is judged from the time on at which that would be too old. `plan` says how the targets stand at
    the end.
    `objective` is the share of time, below 1, in which promises are to be kept.
    """
    times = whole_times(past.periods, begin, end)
    changes: dict[str, list[Change]] = defaultdict(list)
    for change in past.changes:
        changes[change.key].append(change)
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in past.verdicts:
        verdicts[verdict.target].append(verdict)
    paths = Paths(graph, changes)
    targets = []
    for key, asset in sorted(graph.assets.items()):
        if asset.policy is None or key in past.not_followed:
            continue
        since = begin
        if promised and key in promised:
            since = max(begin, deadline(asset.policy, promised[key]))
        own = [Interval(max(it.begin, since), it.end) for it in times if it.end > since]
        lag = lag_of(changes.get(key, ()), asset.policy, own)
        targets.append(
            TargetReport(
                key=key,
                location=asset.location,
                lag=lag,
                breaches=breaches_of(
                    key, asset.location, lag, verdicts.get(key, ()), past.silences
                ),
                cycles=cycles_of(key, paths, own),
                stands=plan.targets.get(key) if plan else None,
                since=since,
            )
        )

    def budget(target: TargetReport) -> tuple[float, str]:
        left = target.lag.budget_left(objective)
        return inf if left is None else left, target.key

    return Report(
        begin=begin,
        end=end,
        times=times,
        objective=objective,
        graph=graph,
        targets=sorted(targets, key=budget),
        not_followed=sorted(past.not_followed),
        cost=cost_of(graph, past.changes, past.runs, times),
        silences=[it for it in past.silences if (inf if it.end is None else it.end) > begin],
    )
