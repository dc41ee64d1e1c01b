"""Decide which assets start now, and what each of the others waits for.

One pass over the execution sets, inputs first. Its assets vote; one that needs to start now takes
the others along. Then it is noted what assets downstream may expect. All roots come first: those
that start may take others along.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from freshline.model import Pending, Phase, data_time_of
from freshline.planner.claims import Claim, Urgency, urgency
from freshline.planner.companions import companions
from freshline.planner.estimate import allowance
from freshline.planner.facts import AssetFacts, Facts
from freshline.planner.known import Decision, Known
from freshline.planner.lineage import ExecutionSet, Lineage
from freshline.planner.parts import data_time_with
from freshline.planner.votes import Vote, Voter
from freshline.words import clock, span

__all__ = ["Decision", "decisions_of"]


def decisions_of(
    lineage: Lineage,
    facts: Facts,
    claims: Mapping[str, tuple[Claim, ...]],
    urgencies: Mapping[str, Urgency],
) -> dict[str, Decision]:
    """Return the decision about every asset in `lineage`, by key."""
    known = Known(lineage, facts, claims)
    made = _Decisions(known, urgencies)
    others = []
    for execution_set in facts.execution_sets:
        if execution_set.keys[0] in lineage.roots:
            made.decide(execution_set)
        else:
            others.append(execution_set)
    for root, meeting in list(companions(known, lineage.roots)):
        made.request(root, f"starts early, in the run that makes {meeting}", f"with {meeting}")
    for execution_set in others:
        made.decide(execution_set)
    return known.decisions


class _Decisions:
    """Decides about one execution set after the other, inputs first."""

    def __init__(self, known: Known, urgencies: Mapping[str, Urgency]) -> None:
        self._known = known
        self._urgencies = urgencies
        self._voter = Voter(known)

    def decide(self, execution_set: ExecutionSet) -> None:
        """Decide about all assets of `execution_set`."""
        for key in execution_set.keys:
            self._known.decisions[key] = Decision(self._urgencies[key])
        first = self._known.facts.assets[execution_set.keys[0]]
        if first.pending:
            for key in execution_set.keys:
                self._expect_delivery(key, first.pending)
        elif first.own_hold and first.own_hold.phase is not Phase.FAILING:
            for key in execution_set.keys:
                self._known.decisions[key].reason = first.own_hold.message
        else:
            self._choose(execution_set, first)

    def request(self, execution_set: ExecutionSet, reason: str, cause: str) -> None:
        """Request all assets of `execution_set`, a root, for `reason`; `cause` says it shortly."""
        for key in execution_set.keys:
            self._request(key, reason, cause, alone=False)
        self._expect_successor(execution_set)

    # --- an execution set that could be requested --------------------------------------------

    def _choose(self, execution_set: ExecutionSet, first: AssetFacts) -> None:
        not_before = max(first.retry_at, first.rested_at)
        if execution_set.made_once:
            votes = {key: self._voter.vote_once(key) for key in execution_set.keys}
        else:
            votes = {
                key: self._voter.vote(key) for key in execution_set.keys if self._known.claims[key]
            }
        alone = any(vote.go and vote.alone for vote in votes.values())
        leader = next((key for key, vote in votes.items() if vote.go), None)
        lacking = None
        if leader is not None:
            lacking = next((key for key in votes if self._known.lacks_input(key, alone)), None)
        if leader is not None and lacking is None and self._known.facts.reached(not_before):
            parts = tuple(dict.fromkeys(name for vote in votes.values() for name in vote.parts))
            for key in execution_set.keys:
                reason, cause = self._why(key, votes.get(key), leader)
                self._request(key, reason, cause, alone=alone, parts=parts)
            self._expect_successor(execution_set)
            return
        start = max(min((vote.start for vote in votes.values()), default=inf), not_before)
        due = start
        if any(vote.overdue for vote in votes.values()):
            due = self._due_after_overdue(execution_set, not_before)
        for key in execution_set.keys:
            decision = self._known.decisions[key]
            decision.start = due if due < inf else None
            decision.reason = votes[key].reason if key in votes else "no policy needs it now"
            hold = self._known.facts.assets[key].hold
            if lacking is not None and lacking != key:
                decision.reason = f"made with {lacking}, which lacks an input"
            elif (
                leader is not None
                and lacking is None
                and not self._known.facts.reached(first.rested_at)
            ):
                pause = span(execution_set.at_most_every)
                decision.reason = (
                    f"made at most every {pause}: not before {clock(not_before, self._known.now)}"
                )
            elif leader is not None and lacking is None and hold:
                decision.reason = (
                    f"{hold.message}; next attempt at {clock(not_before, self._known.now)}"
                )
            self._expect_next_version(key, start)

    def _why(self, key: str, vote: Vote | None, leader: str) -> tuple[str, str]:
        """Return the reason and the cause of the request of `key`, whose set `leader` starts."""
        if vote is None or not vote.go:
            return f"made with {leader}", f"with {leader}"
        if vote.cause:
            return vote.reason, vote.cause
        first = self._known.decisions[key].urgency.deadline is None
        return vote.reason, "first version" if first else "latest start"

    def _due_after_overdue(self, execution_set: ExecutionSet, not_before: float) -> float:
        """Return when a set is due that waits for a run which may end at any time."""
        facts = self._known.facts
        if len(execution_set.keys) > 1:
            facts.changes_now()  # what others in the set are expected to bring moves as well
        return facts.now if facts.reached(not_before) else not_before

    # --- what assets downstream may expect --------------------------------------------------

    def _request(
        self, key: str, reason: str, cause: str, *, alone: bool, parts: tuple[str, ...] = ()
    ) -> None:
        asset, node = self._known.facts.assets[key], self._known.graph.assets[key]
        decision = self._known.decisions[key]
        joined = self._known.joined(key) if not alone else {}
        begin = max(
            (self._known.decisions[name].arrival for name in joined), default=self._known.now
        )
        self._known.facts.changes_now()
        decision.request = True
        decision.alone = alone
        decision.reason, decision.cause = reason, cause
        decision.start = self._known.now
        decision.arrival = begin + asset.stage.at_most
        if node.partitioned:
            self._request_parts(key, parts)
        elif self._known.inputs[key]:
            promise = self._known.data_time_of_run(key, joined)
            decision.promise = promise if promise > -inf else None
        else:
            decision.promise = self._known.now
        # If what is observed has not changed, nothing downstream needs a run.
        decision.alone = alone or node.observed
        self._known.locations[key] = "" if decision.alone else asset.location

    def _request_parts(self, key: str, parts: tuple[str, ...]) -> None:
        decision, choice = self._known.decisions[key], self._known.choices.get(key)
        decision.parts = parts
        decision.together = self._known.graph.assets[key].single_run and len(parts) > 1
        reached = {name: choice.reached.get(name, inf) if choice else inf for name in parts}
        decision.promise = data_time_with(key, self._known.facts, reached)

    def _expect_successor(self, execution_set: ExecutionSet) -> None:
        """Note when the version after the requested one is expected: as late as can be."""
        made = {key: self._known.decisions[key] for key in execution_set.keys}
        start = max(
            max(decision.arrival for decision in made.values()),
            min(urgency(self._known.claims[key], made[key].promise).latest_start for key in made),
        )
        for key, decision in made.items():
            decision.successor_arrival = start + self._known.facts.assets[key].stage.at_most

    def _expect_delivery(self, key: str, pending: Pending) -> None:
        """Note what is expected of an asset that a run, queued or in progress, will deliver."""
        asset = self._known.facts.assets[key]
        decision = self._known.decisions[key]
        execution = allowance(asset.stage.execution)
        same_run = [
            self._known.decisions[name]
            for name in self._known.inputs[key]
            if (other := self._known.facts.assets[name].pending)
            and other.run_id == pending.run_id
            and name in self._known.decisions  # not in a cycle
        ]
        if pending.started_at is not None:
            expected = pending.started_at + execution
        else:
            expected = pending.requested_at + asset.stage.at_most
        expected = max([expected, *(other.arrival + execution for other in same_run)])
        decision.start = pending.started_at or pending.requested_at
        decision.arrival = max(self._known.now, expected)
        follows_overdue = any(other.overdue for other in same_run)
        decision.overdue = self._known.facts.passed(expected) or follows_overdue
        promise = data_time_of(other.promise for other in same_run)
        all_in_run = promise is not None and len(same_run) == len(self._known.inputs[key])
        decision.promise = promise if all_in_run else asset.used_up_to
        doing = "in progress" if pending.started_at is not None else "queued"
        by = "at any time" if follows_overdue else f"by {clock(expected, self._known.now)}"
        since = clock(decision.start, self._known.now)
        held = pending.held_by if pending.started_at is None else ""
        decision.reason = f"{doing} since {since}, " + (held or f"expected {by}")

    def _expect_parts(self, key: str, start: float) -> bool:
        """Note when partitions that are under way are expected, or those of the next window.

        Return whether that says all: partitions of open windows get newer data with each run.
        """
        asset, windows = self._known.facts.assets[key], self._known.graph.assets[key].windows
        decision, stage = self._known.decisions[key], asset.stage
        under_way = [part.pending for part in asset.state.parts if part.pending]
        if under_way:
            expected = max(
                pending.requested_at + stage.at_most
                if pending.started_at is None
                else pending.started_at + allowance(stage.execution)
                for pending in under_way
            )
            decision.arrival = max(self._known.now, expected)
            decision.overdue = self._known.facts.passed(expected)
            decision.promise = data_time_with(key, self._known.facts, {})
            return True
        if windows is None or windows.has_open_window:
            return False
        if self._known.awaits_overdue(key):
            self._known.facts.changes_now()
        begin = max(
            start,
            windows.next_reach(windows.reach(self._known.now))
            if self._known.facts.reached(start)
            else start,
        )
        if begin < inf:  # there is a next window
            decision.arrival = begin + allowance(stage.wait.then(stage.run))
            decision.promise = windows.reach(begin)
        return True

    def _expect_next_version(self, key: str, start: float) -> None:
        """Note when an asset that is not requested now is expected to have a newer version."""
        decision = self._known.decisions[key]
        inputs = self._known.inputs[key]
        if not self._known.claims[key] or start == inf:
            return
        if self._known.graph.assets[key].partitioned and self._expect_parts(key, start):
            return
        stage = self._known.facts.assets[key].stage
        if not inputs:
            decision.arrival = start + stage.at_most
            decision.promise = start
            return
        latest = decision.urgency.latest_start
        decision.overdue = self._known.awaits_overdue(key)
        if decision.overdue:
            self._known.facts.changes_at(self._known.now + latest - start)
        if latest > start and not self._known.improves(key, {}):
            start = latest  # it may well wait for a later sync
        decision.arrival = start + allowance(stage.wait.then(stage.run))
        decision.promise = min(self._promised(key), default=None)

    def _promised(self, key: str) -> list[float]:
        """Return the promise of each input of `key`, or else its current data time."""
        found = []
        for name in self._known.inputs[key]:
            promise = self._known.decisions[name].promise
            found.append(self._known.data_time_or_oldest(key, name) if promise is None else promise)
        return found
