"""Roots that start early, in the run of another root that they meet in their own location.

One run can make what reads both only if it makes both. Then it makes that sooner, and without
another run. The data of a root that starts early need not have been newer: those of the other root
are from the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from freshline.planner.known import Known
from freshline.planner.lineage import ExecutionSet

__all__ = ["companions"]


def companions(
    known: Known, roots: Mapping[str, ExecutionSet]
) -> Iterator[tuple[ExecutionSet, str]]:
    """Yield those of `roots` that should start with one that is requested now, and where they meet.

    They are due before that run could make what reads both.
    """
    found: set[tuple[str, ...]] = set()
    for key, begin in _begins(known).items():
        for name in known.inputs[key]:
            root = roots.get(name)
            if (
                root
                and root.keys not in found
                and root.location == known.facts.assets[key].location
                and _could_start(root, begin, known)
            ):
                found.add(root.keys)
                yield root, key


def _begins(known: Known) -> dict[str, float]:
    """Return when each asset could begin that reads, in the same run, what is requested now.

    Those are left out that cannot have a newer version, because they or what they read cannot run.
    """
    begins: dict[str, float] = {}
    ends = {
        key: known.decisions[key].arrival for key, location in known.locations.items() if location
    }
    for execution_set in known.facts.execution_sets if ends else ():
        for key in execution_set.keys:
            asset = known.facts.assets[key]
            if asset.hold or not known.claims[key] or known.graph.assets[key].partitioned:
                continue
            there = [
                ends[name]
                for name in known.inputs[key]
                if name in ends and known.facts.assets[name].location == asset.location
            ]
            if there:
                begins[key] = max(there)
                ends[key] = begins[key] + asset.stage.execution.mean
    return begins


def _could_start(root: ExecutionSet, begin: float, known: Known) -> bool:
    """Return whether `root` could start now, and is due before `begin`."""
    first = known.facts.assets[root.keys[0]]
    due = min(known.decisions[key].urgency.latest_start for key in root.keys)
    return (
        due <= begin
        and not known.decisions[root.keys[0]].request
        and not first.pending
        and not any(known.graph.assets[key].partitioned for key in root.keys)
        and known.facts.reached(first.rested_at)
    )
