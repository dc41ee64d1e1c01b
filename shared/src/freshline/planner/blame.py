"""What holds a target up: found upstream, and said in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from freshline.model import DOING, Blame, Part, Pending, Phase
from freshline.planner.decisions import Decision
from freshline.planner.facts import Facts, Hold
from freshline.planner.lineage import Lineage
from freshline.planner.parts import first_hole
from freshline.words import clock

__all__ = ["DANGLING_AFTER", "blame_of_hold", "culprit_of", "is_on_its_way"]

DANGLING_AFTER: Final = 300.0
"""A dependency that no contract explains is called dangling so many seconds after its consumer's
contract appeared."""


def blame_of_hold(hold: Hold, facts: Facts) -> Blame:
    """Return `hold` as the blame for a late or blocked target downstream of it."""
    message, now = hold.message, facts.now
    if hold.phase is not Phase.UNKNOWN:
        message += f" since {clock(hold.since, now)}" if hold.since is not None else ""
    elif hold.since is None or facts.passed(hold.since + DANGLING_AFTER):
        message += ": dangling"
    else:
        by = clock(hold.since + DANGLING_AFTER, now)
        message += f": dangling unless it is explained by {by}"
    return Blame(hold.location, hold.asset, hold.phase, hold.since, message)


def culprit_of(
    key: str, lineage: Lineage, facts: Facts, decisions: Mapping[str, Decision]
) -> Blame:
    """Return what the late target `key` waits for, found upstream along the oldest inputs."""
    walk = _Walk(lineage, facts, decisions, observed=facts.assets[key].location)
    while True:
        found = walk.look_at(key)
        if isinstance(found, Blame):
            return found
        key = found


def is_on_its_way(culprit: Blame, decisions: Mapping[str, Decision]) -> bool:
    """Return whether a run is under way, or requested now, that brings the target further."""
    return culprit.phase in DOING or decisions[culprit.asset].request


class _Walk:
    """A walk upstream. `observed` is the location of the target that it began at."""

    def __init__(
        self, lineage: Lineage, facts: Facts, decisions: Mapping[str, Decision], observed: str
    ) -> None:
        self._lineage = lineage
        self._facts = facts
        self._decisions = decisions
        self._observed = observed in lineage.graph.observers

    def look_at(self, key: str) -> Blame | str:
        """Return the blame if `key` is what is waited for, or else the input to look at next."""
        asset, decision = self._facts.assets[key], self._decisions[key]
        if asset.pending:
            ahead = self._made_first(key, asset.pending)
            return ahead or _blame_run(asset.location, key, key, asset.pending, self._facts)
        if decision.request:
            requested = "would be" if self._observed else "is"
            message = f"{key} {requested} requested now: {decision.reason}"
            return Blame(asset.location, key, Phase.WAIT, None, message)
        oldest = self._oldest_input(key)
        unused = oldest is None or self._facts.has_unused_version(oldest, key)
        found = self._partition(key, unused=unused)
        if found is None and not unused:
            found = self._answer(key) or self._unknown(key)
        if found is not None:
            return found
        if oldest is None or unused:
            made = self._facts.assets[oldest].state.version if oldest else None
            message = f"{key} waits: {decision.reason}"
            return Blame(asset.location, key, Phase.WAIT, made.at if made else None, message)
        return oldest

    def _made_first(self, key: str, pending: Pending) -> str | None:
        """Return the input that the same run makes before `key`; None: none, or it has begun."""
        if pending.started_at is not None:
            return None
        inputs = self._lineage.inputs[key]
        runs = {name: self._facts.assets[name].pending for name in inputs}
        return next(
            (name for name, run in runs.items() if run and run.run_id == pending.run_id), None
        )

    def _oldest_input(self, key: str) -> str | None:
        def order(name: str) -> tuple[bool, float]:
            data_time = self._facts.data_time_of_input(key, name)
            return data_time is not None, data_time or 0.0

        return min(self._lineage.inputs[key], key=order, default=None)

    def _partition(self, key: str, *, unused: bool) -> Blame | None:
        """Return the partition of `key` that holds it back; None: what it reads does."""
        if not self._lineage.graph.assets[key].partitioned:
            return None
        hole = first_hole(key, self._facts)
        if hole is None or not (unused or hole.pending or hole.failures):
            return None
        return _blame_part(key, hole, self._decisions[key], self._facts)

    def _answer(self, key: str) -> Blame | None:
        """Return the blame if the newest run of `key` found that there was nothing to make."""
        asset = self._facts.assets[key]
        answer = asset.state.nothing_new
        if answer is None or not self._lineage.inputs[key] or asset.used_up_to == asset.data_time:
            return None
        message = f"{key} had nothing new to make at {clock(answer.at, self._facts.now)}"
        return Blame(asset.location, key, Phase.WAIT, answer.at, message)

    def _unknown(self, key: str) -> Blame | None:
        asset = self._facts.assets[key]
        version = asset.state.version
        if version is None or version.data_time is not None or self._lineage.graph.assets[key].view:
            return None
        message = f"the data time of {key} is unknown until its next run"
        return Blame(asset.location, key, Phase.UNKNOWN, version.at, message)


def _blame_run(location: str, key: str, what: str, pending: Pending, facts: Facts) -> Blame:
    """Return the run that makes `what`, of the asset `key`, as what a target waits for."""
    phase, since = pending.standing()
    message = f"{what} has been {DOING[phase]} since {clock(since, facts.now)}"
    if phase is Phase.QUEUE and pending.held_by:
        message += f": {pending.held_by}"
    return Blame(location, key, phase, since, message)


def _blame_part(key: str, part: Part, decision: Decision, facts: Facts) -> Blame:
    """Return the partition that holds the data time of `key` back as what a target waits for."""
    location, what = facts.assets[key].location, f"partition {part.name} of {key}"
    if part.pending:
        return _blame_run(location, key, what, part.pending, facts)
    if part.failures:
        times = "once" if part.failures == 1 else f"{part.failures} times in a row"
        message = f"{what} failed {times}: {part.error or 'no message'}"
        return Blame(location, key, Phase.FAILING, part.failed_at, message)
    lacks = "is missing" if part.version == 0 else "is not complete"
    closed = part.window.end if part.window else None
    message = f"{what} {lacks}: {decision.reason}"
    return Blame(location, key, Phase.WAIT, closed, message)
