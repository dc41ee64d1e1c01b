"""Decide which assets start now, and what each of the others waits for.

One pass, inputs first. So for every input it is known whether it is requested now, when its next
version is expected, and which data time that version will have.

A root starts at the last tick before its latest start. Any other asset

- never starts on inputs that would not improve it;
- waits for newer inputs as long as they are expected before its latest start, so that it
  joins the last sync that still meets its deadline;
- starts at once when waiting gains nothing, and at its latest start in any case;
- joins the run of an input of its own location, if it would start right after it anyway.

A partition is made as soon as it can be complete, because waiting gains nothing then. If one run
can make many partitions, they wait for each other as long as the deadline allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from freshline.model import Part, Pending, Phase, Reads, data_time_of
from freshline.planner.claims import Claim, Urgency, urgency
from freshline.planner.estimate import allowance
from freshline.planner.facts import AssetFacts, Facts, is_unmade
from freshline.planner.lineage import ExecutionSet, Lineage
from freshline.planner.parts import Choice, choice_of, data_time_with, reached_by
from freshline.words import clock, span

__all__ = ["Decision", "decisions_of"]

_STATIC: Final = "its content does not change with time"


@dataclass(slots=True)
class Decision:
    """What is decided for one asset, and what is expected of it."""

    urgency: Urgency
    request: bool = False
    alone: bool = False
    """In a run without the rest of its location, because it cannot wait for it."""
    start: float | None = None
    """When it is expected to start next."""
    arrival: float = inf
    """When its next version is expected; inf: none is."""
    promise: float | None = None
    """The data time that its next version will have at least; None: it is not known."""
    successor_arrival: float = inf
    """When the version after its next one is expected, if it is requested now."""
    overdue: bool = False
    """Its run, or one that it waits for, takes longer than was expected."""
    reason: str = ""
    parts: tuple[str, ...] = ()
    """The partitions to request."""
    together: bool = False
    """Whether one run makes all of them."""


@dataclass(slots=True)
class _Vote:
    """What one asset needs its execution set to do: start now, or wait."""

    go: bool
    reason: str
    start: float = inf
    """When it needs to start, if not now."""
    alone: bool = False
    parts: tuple[str, ...] = ()
    """The partitions to make, if it has any."""


def decisions_of(
    lineage: Lineage, facts: Facts, claims: Mapping[str, tuple[Claim, ...]]
) -> dict[str, Decision]:
    """Return the decision about every asset in `lineage`, by key."""
    made = _Decisions(lineage, facts, claims)
    for execution_set in facts.execution_sets:
        made.decide(execution_set)
    return made.decisions


class _Decisions:
    """Decides about one execution set after the other, inputs first."""

    def __init__(
        self, lineage: Lineage, facts: Facts, claims: Mapping[str, tuple[Claim, ...]]
    ) -> None:
        self.graph = lineage.graph
        self.inputs = lineage.inputs
        self.prerequisites = lineage.prerequisites
        self.facts = facts
        self.now = facts.now
        self.claims = claims
        self.decisions: dict[str, Decision] = {}
        self.locations: dict[str, str] = {}
        """The location of each asset that is requested now; "" for one that nothing can join."""
        self.choices: dict[str, Choice] = {}
        """What runs could do for the partitions of each asset that has some."""

    def decide(self, execution_set: ExecutionSet) -> None:
        """Decide about all assets of `execution_set`."""
        for key in execution_set.keys:
            self.decisions[key] = Decision(urgency(self.claims[key], self.facts.assets[key].paced))
        first = self.facts.assets[execution_set.keys[0]]
        if first.pending:
            for key in execution_set.keys:
                self._expect_delivery(key, first.pending)
        elif first.own_hold and first.own_hold.phase is not Phase.FAILING:
            for key in execution_set.keys:
                self.decisions[key].reason = first.own_hold.message
        else:
            self._choose(execution_set, first)

    # --- an execution set that could be requested --------------------------------------------

    def _choose(self, execution_set: ExecutionSet, first: AssetFacts) -> None:
        not_before = max(first.retry_at, first.rested_at)
        if execution_set.made_once:
            votes = {key: self._vote_once(key) for key in execution_set.keys}
        else:
            votes = {key: self._vote(key) for key in execution_set.keys if self.claims[key]}
        alone = any(vote.go and vote.alone for vote in votes.values())
        leader = next((key for key, vote in votes.items() if vote.go), None)
        lacking = None
        if leader is not None:
            lacking = next((key for key in votes if self._lacks_input(key, alone)), None)
        if leader is not None and lacking is None and not_before <= self.now:
            parts = tuple(dict.fromkeys(name for vote in votes.values() for name in vote.parts))
            for key in execution_set.keys:
                vote = votes.get(key)
                reason = vote.reason if vote and vote.go else f"made with {leader}"
                self._request(key, reason, alone=alone, parts=parts)
            self._expect_successor(execution_set)
            return
        start = max(min((vote.start for vote in votes.values()), default=inf), not_before)
        for key in execution_set.keys:
            decision = self.decisions[key]
            decision.start = start if start < inf else None
            decision.reason = votes[key].reason if key in votes else "no policy needs it now"
            hold = self.facts.assets[key].hold
            if lacking is not None and lacking != key:
                decision.reason = f"made with {lacking}, which lacks an input"
            elif leader is not None and lacking is None and first.rested_at > self.now:
                pause = span(execution_set.at_most_every)
                decision.reason = (
                    f"made at most every {pause}: not before {clock(not_before, self.now)}"
                )
            elif leader is not None and lacking is None and hold:
                decision.reason = f"{hold.message}; next attempt at {clock(not_before, self.now)}"
            self._expect_next_version(key, start)

    def _vote_once(self, key: str) -> _Vote:
        asset, version = self.graph.assets[key], self.facts.assets[key].state.version
        if asset.partitioned:
            return self._vote_on_parts_once(key)
        if version is None:
            return _Vote(True, "it was never made")
        if is_unmade(asset, version):
            return _Vote(True, "its code has changed")
        if asset.view:
            return _Vote(False, "it is as fresh as what it reads, without a run")
        return _Vote(False, _STATIC)

    def _vote_on_parts_once(self, key: str) -> _Vote:
        choice = self.choices[key] = choice_of(key, (), self.facts, {})
        unmade = [part for part in choice.ready if part.version == 0]
        if not unmade:
            return _Vote(False, _STATIC, choice.retry_at)
        names = tuple(part.name for part in unmade)
        return _Vote(True, f"{_names(unmade)}: never made", parts=names)

    def _vote(self, key: str) -> _Vote:
        decision = self.decisions[key]
        latest = decision.urgency.latest_start
        inputs = self.inputs[key]
        if self.graph.assets[key].partitioned:
            return self._vote_on_parts(key)
        if not inputs:
            return self._vote_on_root(key)
        joined = self._joined(key)
        if self._improves(key, {}):
            wait = self._better_inputs_at(key, joined)
            if wait is None:
                return _Vote(True, self._why_now(key), alone=bool(joined))
        else:
            wait = self._improvement_at(key)
        if joined and self._improves(key, joined) and self._worth_joining(key, joined):
            superseded = self._superseded_at(key, joined)
            if superseded is None:
                names = " and ".join(sorted(joined))
                return _Vote(True, f"right after {names}, in the same run")
            wait = superseded
        if wait is None or wait == inf:
            return _Vote(False, f"its inputs hold nothing new ({self._oldest_input(key)})")
        return _Vote(
            False,
            f"waits for {self._oldest_input(key)}, expected at {clock(wait, self.now)}, "
            f"to start by {clock(latest, self.now)}",
            wait,
        )

    def _vote_on_root(self, key: str) -> _Vote:
        urgency = self.decisions[key].urgency
        if self._is_due(key):
            return _Vote(True, self._why_urgent(urgency))
        return self._vote_to_wait(key, urgency)

    def _vote_to_wait(self, key: str, urgency: Urgency) -> _Vote:
        """Return the vote of a root that need not start before `urgency` asks for it."""
        latest = urgency.latest_start
        reason = f"not before {clock(latest, self.now)}: {self._who_needs_it(urgency)}"
        answer = self.facts.assets[key].state.nothing_new
        if answer:
            reason = f"there was nothing new at {clock(answer.at, self.now)}; {reason}"
        return _Vote(False, reason, latest)

    def _vote_on_parts(self, key: str) -> _Vote:
        choice = self.choices[key] = choice_of(
            key, self.inputs[key], self.facts, self._joined_parts(key)
        )
        if not choice.ready:
            return self._vote_to_wait_for_parts(key, choice)
        parts = self._parts_to_make_now(key, choice)
        if not parts:
            vote = self._vote_on_open_parts(key, choice)
            if not vote.go:
                return vote
            parts = choice.ready
        return _Vote(True, self._why_parts(key, parts), parts=tuple(part.name for part in parts))

    def _parts_to_make_now(self, key: str, choice: Choice) -> Sequence[Part]:
        """Return the partitions that can be complete now, and those that are due.

        If one run can make them all, they wait until one of them is due.
        """
        due = [part for part in choice.ready if self._is_part_due(key, part)]
        if self.graph.assets[key].single_run:
            return choice.ready if due else ()
        return [part for part in choice.ready if part in choice.final or part in due]

    def _is_part_due(self, key: str, part: Part) -> bool:
        return self._is_late_for(key, self._urgency_of_part(key, part))

    def _urgency_of_part(self, key: str, part: Part) -> Urgency:
        asset, answer = self.facts.assets[key], part.nothing_new
        reached = reached_by(part, self.graph.assets[key])
        if answer and answer.data_time is not None:
            reached = max(reached, answer.data_time)
        elif asset.state.version is None:
            reached = -inf
        return urgency(self.claims[key], reached if reached > -inf else None)

    def _vote_on_open_parts(self, key: str, choice: Choice) -> _Vote:
        """Return whether to make partitions that could have newer data later, or company."""
        if not self.inputs[key]:
            urgencies = [self._urgency_of_part(key, part) for part in choice.ready]
            return self._vote_to_wait(key, min(urgencies, key=lambda each: each.latest_start))
        wait = self._better_inputs_at(key, {})
        if wait is None:
            return _Vote(True, "")
        latest = clock(self.decisions[key].urgency.latest_start, self.now)
        oldest = self._oldest_input(key)
        return _Vote(
            False,
            f"waits for {oldest}, expected at {clock(wait, self.now)}, to start by {latest}",
            wait,
        )

    def _vote_to_wait_for_parts(self, key: str, choice: Choice) -> _Vote:
        asset, windows = self.facts.assets[key], self.graph.assets[key].windows
        under_way = [part for part in asset.state.parts if part.pending]
        failed = next((part for part in asset.state.parts if part.failures), None)
        if choice.retry_at < inf:
            again = clock(choice.retry_at, self.now)
            why = "its source was behind when a closed partition was made"
            if failed:
                why = f"partition {failed.name} failed: {failed.error or 'no message'}"
            return _Vote(False, f"{why}; next attempt at {again}", choice.retry_at)
        if under_way:
            return _Vote(False, f"{_names(under_way)} is being made", self.now)
        if windows is None and not asset.state.parts:
            return _Vote(False, "it has no partition keys yet")
        if self.inputs[key]:
            return _Vote(False, f"waits for {self._oldest_input(key)}", self._next_parts_at(key))
        if windows is None:
            return self._vote_to_wait(key, self.decisions[key].urgency)
        closes = windows.next_reach(max(asset.data_time or -inf, windows.reach(self.now)))
        if closes == inf:
            return _Vote(False, "its last window has closed, and is complete")
        return _Vote(False, f"its next window closes at {clock(closes, self.now)}", closes)

    def _next_parts_at(self, key: str) -> float:
        """Return when the inputs of `key` may be complete for a partition more; inf: never."""
        return max(self.decisions[name].arrival for name in self.inputs[key])

    def _why_parts(self, key: str, parts: Sequence[Part]) -> str:
        names = _names(parts)
        if any(part.window is None or part.window.end > self.now for part in parts):
            return f"{names}: {self._why_now(key) if self.inputs[key] else self._why_due(key)}"
        if self.inputs[key]:
            return f"{names}: what it reads is complete"
        return f"{names} {'has' if len(parts) == 1 else 'have'} closed"

    def _lacks_input(self, key: str, alone: bool) -> bool:
        """Return whether an input of `key` was never made and is not made in the same run."""
        unmade = self.facts.unmade
        if not unmade:
            return False
        joined = set() if alone else self._joined(key).keys() | self._prerequisites_in_run(key)
        return any(
            name in unmade and name not in joined
            for name in (*self.inputs[key], *self.prerequisites[key])
        )

    # --- the questions ----------------------------------------------------------------------

    def _is_due(self, key: str) -> bool:
        """Return whether a start at the next tick of its location would be too late."""
        return self._is_late_for(key, self.decisions[key].urgency)

    def _is_late_for(self, key: str, urgent: Urgency) -> bool:
        late = self.now + self.facts.assets[key].tick > urgent.latest_start
        return late and self.now >= urgent.not_before

    def _improves(self, key: str, joined: Mapping[str, float]) -> bool:
        """Return whether a run now would give `key` newer data than it has.

        `joined` has the inputs that the same run makes, with their data times. Where a data time
        is unknown, an input version that is newer than the asset's own counts as newer data.
        """
        own = self.facts.assets[key].state.version
        oldest = inf
        known = own is None or own.data_time is not None
        newest = False
        for name in self.inputs[key]:
            if name in joined:
                newest = True
                oldest = min(oldest, joined[name])
                continue
            version = self.facts.assets[name].state.version
            if version is None:
                return False
            if version.data_time is None:
                known = False
            newest = newest or own is None or version.id > own.id
            oldest = min(oldest, self.facts.data_time_of_input(key, name) or 0.0)
        answer = self.facts.assets[key].state.nothing_new
        if answer and answer.data_time is not None and oldest <= answer.data_time:
            return False
        if own is None:
            return True
        if not known:
            return newest
        return oldest > (own.data_time or 0.0)

    def _better_inputs_at(self, key: str, joined: Mapping[str, float]) -> float | None:
        """Return when newer inputs come that are worth waiting for; None: start without them."""
        if self._is_due(key):
            return self._superseded_at(key, {})
        latest = self.decisions[key].urgency.latest_start
        oldest = self._oldest_inputs(key, {})
        arrival = max(self.decisions[name].arrival for name in oldest)
        in_time = latest
        if not joined.keys() >= set(oldest):
            in_time -= self.facts.assets[key].tick
        return arrival if arrival <= in_time else None

    def _superseded_at(self, key: str, joined: Mapping[str, float]) -> float | None:
        """Return when newer inputs come that make a run now superfluous; None: none will.

        There are two cases. The inputs that are there may be so old that the next run would have
        to start before this one ends: then a run now would only delay the next one. Or a target
        has been late for longer than the newer inputs still need, and these come within two runs:
        then it can wait for them too. So an outage ends with one run, on the data that is on its
        way, and not with two in a row.
        """
        asset = self.facts.assets[key]
        oldest = self._oldest_inputs(key, joined)
        if any(name in joined for name in oldest):
            return None
        available = self._data_time_of_run(key, joined)
        due = [
            claim
            for claim in self.claims[key]
            if asset.data_time is None
            or self.now + asset.tick > claim.latest_start(asset.data_time)
        ]
        busy = asset.stage.run.mean
        arrival = self._served_at(key, due, available, busy + asset.tick) if due else None
        if arrival is None:
            return None
        versions = [self.facts.assets[name].state.version for name in oldest]
        came = max((version.at for version in versions if version), default=self.now)
        if self.now - came <= max(2 * asset.tick, arrival - self.now):
            return None  # they came just now; otherwise each could wait for the next, for ever
        end = max((self.decisions[name].arrival for name in joined), default=self.now) + busy
        for claim in due:
            good_until = claim.latest_start(available)
            can_wait = self.facts.late_for(claim.target, claim.policy) > arrival - self.now
            soon = arrival <= end + busy + asset.tick
            if good_until >= end and not (can_wait and soon):
                return None
        return arrival

    def _served_at(
        self, key: str, due: list[Claim], available: float, ahead: float
    ) -> float | None:
        """Return when inputs are expected that will do for all `due` claims; None: none are.

        They must be newer than the data time `available`, and new enough that no claim needs
        newer ones for the next `ahead` seconds.
        """
        if not all(claim.feasible for claim in due):
            return None
        sure = {
            name: self.decisions[name]
            for name in self.inputs[key]
            if not self.facts.assets[name].hold and not self.decisions[name].overdue
        }
        for arrival in sorted({decision.arrival for decision in sure.values()}):
            if not self.now < arrival < inf:
                continue
            there = {
                name: decision.promise
                for name, decision in sure.items()
                if decision.arrival <= arrival and decision.promise is not None
            }
            data_time = self._data_time_of_run(key, there)
            if data_time > available and all(
                claim.latest_start(data_time) >= arrival + ahead for claim in due
            ):
                return arrival
        return None

    def _worth_joining(self, key: str, joined: Mapping[str, float]) -> bool:
        """Return whether `key` should go into the run that makes the inputs in `joined`.

        Not if it would have to wait for them for too long. And not if even newer inputs than
        those of that run will come in time.
        """
        tick = self.facts.assets[key].tick
        latest = self.decisions[key].urgency.latest_start
        begin = max(self.decisions[name].arrival for name in joined)
        otherwise = max(self.decisions[name].arrival for name in self._oldest_inputs(key, {}))
        if begin > max(latest, otherwise + tick):
            return False
        newer = max(
            self.decisions[name].successor_arrival
            if name in joined
            else self.decisions[name].arrival
            for name in self._oldest_inputs(key, joined)
        )
        return newer > latest - tick

    def _oldest_inputs(self, key: str, joined: Mapping[str, float]) -> list[str]:
        """Return the inputs with the oldest data time: newer data needs new versions of all."""
        data_times = {
            name: joined[name] if name in joined else self._data_time_or_oldest(key, name)
            for name in self.inputs[key]
        }
        oldest = min(data_times.values())
        return [name for name, value in data_times.items() if value <= oldest]

    def _improvement_at(self, key: str) -> float:
        """Return when all inputs that `key` has already used will be newer; inf: never."""
        own = self.facts.assets[key].data_time
        used = [
            name
            for name in self.inputs[key]
            if self.facts.assets[name].data_time is None
            or (own is not None and self._data_time_or_oldest(key, name) <= own)
        ]
        return max((self.decisions[name].arrival for name in used), default=inf)

    def _joined(self, key: str) -> dict[str, float]:
        """Return the inputs that the same run would make, with their data times then."""
        location = self.facts.assets[key].location
        joined: dict[str, float] = {}
        for name in self.inputs[key]:
            if self.locations.get(name) == location and self._has_same_parts(key, name):
                promise = self.decisions[name].promise
                joined[name] = self.now if promise is None else promise
        return joined

    def _joined_parts(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return the inputs that the same runs would make, with the partitions of these runs."""
        return {name: self.decisions[name].parts for name in self._joined(key)}

    def _has_same_parts(self, key: str, name: str) -> bool:
        """Return whether a run can make the same partitions of `key` and of its input `name`."""
        asset, source = self.graph.assets[key], self.graph.assets[name]
        if not asset.partitioned or not source.partitioned:
            return not asset.partitioned and not source.partitioned
        same = Reads((0, 0) if asset.windows else None, same_key=asset.keys is not None)
        return (
            asset.windows == source.windows
            and asset.keys == source.keys
            and asset.single_run == source.single_run
            and asset.reads.get(name) == same
        )

    def _prerequisites_in_run(self, key: str) -> set[str]:
        """Return the static inputs and views that the same run would make."""
        location = self.facts.assets[key].location
        return {name for name in self.prerequisites[key] if self.locations.get(name) == location}

    def _data_time_or_oldest(self, key: str, name: str) -> float:
        data_time = self.facts.data_time_of_input(key, name)
        return -inf if data_time is None else data_time

    def _data_time_of_run(self, key: str, joined: Mapping[str, float]) -> float:
        """Return the data time that a run would give `key`, with the inputs `joined` made in it."""
        return min(
            joined[name] if name in joined else self._data_time_or_oldest(key, name)
            for name in self.inputs[key]
        )

    # --- what assets downstream may expect --------------------------------------------------

    def _request(self, key: str, reason: str, *, alone: bool, parts: tuple[str, ...] = ()) -> None:
        asset, node = self.facts.assets[key], self.graph.assets[key]
        decision = self.decisions[key]
        joined = self._joined(key) if not alone else {}
        begin = max((self.decisions[name].arrival for name in joined), default=self.now)
        decision.request = True
        decision.alone = alone
        decision.reason = reason
        decision.start = self.now
        decision.arrival = begin + asset.stage.at_most
        if node.partitioned:
            self._request_parts(key, parts)
        elif self.inputs[key]:
            promise = self._data_time_of_run(key, joined)
            decision.promise = promise if promise > -inf else None
        else:
            decision.promise = self.now
        # If what is observed has not changed, nothing downstream needs a run.
        decision.alone = alone or node.observed
        self.locations[key] = "" if decision.alone else asset.location

    def _request_parts(self, key: str, parts: tuple[str, ...]) -> None:
        decision, choice = self.decisions[key], self.choices.get(key)
        decision.parts = parts
        decision.together = self.graph.assets[key].single_run and len(parts) > 1
        reached = {name: choice.reached.get(name, inf) if choice else inf for name in parts}
        decision.promise = data_time_with(key, self.facts, reached)

    def _expect_successor(self, execution_set: ExecutionSet) -> None:
        """Note when the version after the requested one is expected: as late as can be."""
        made = {key: self.decisions[key] for key in execution_set.keys}
        start = max(
            max(decision.arrival for decision in made.values()),
            min(urgency(self.claims[key], made[key].promise).latest_start for key in made),
        )
        for key, decision in made.items():
            decision.successor_arrival = start + self.facts.assets[key].stage.at_most

    def _expect_delivery(self, key: str, pending: Pending) -> None:
        """Note what is expected of an asset that a run, queued or in progress, will deliver."""
        asset = self.facts.assets[key]
        decision = self.decisions[key]
        execution = allowance(asset.stage.execution)
        same_run = [
            self.decisions[name]
            for name in self.inputs[key]
            if (other := self.facts.assets[name].pending)
            and other.run_id == pending.run_id
            and name in self.decisions  # not in a cycle
        ]
        if pending.started_at is not None:
            expected = pending.started_at + execution
        else:
            expected = pending.requested_at + asset.stage.at_most
        expected = max([expected, *(other.arrival + execution for other in same_run)])
        decision.start = pending.started_at or pending.requested_at
        decision.arrival = max(self.now, expected)
        decision.overdue = expected < self.now or any(other.overdue for other in same_run)
        promise = data_time_of(other.promise for other in same_run)
        all_in_run = promise is not None and len(same_run) == len(self.inputs[key])
        decision.promise = promise if all_in_run else asset.used_up_to
        doing = "in progress" if pending.started_at is not None else "queued"
        since, by = clock(decision.start, self.now), clock(expected, self.now)
        decision.reason = f"{doing} since {since}, expected by {by}"

    def _expect_parts(self, key: str, start: float) -> bool:
        """Note when partitions that are under way are expected, or those of the next window.

        Return whether that says all: partitions of open windows get newer data with each run.
        """
        asset, windows = self.facts.assets[key], self.graph.assets[key].windows
        decision, stage = self.decisions[key], asset.stage
        under_way = [part.pending for part in asset.state.parts if part.pending]
        if under_way:
            expected = max(
                pending.requested_at + stage.at_most
                if pending.started_at is None
                else pending.started_at + allowance(stage.execution)
                for pending in under_way
            )
            decision.arrival = max(self.now, expected)
            decision.overdue = expected < self.now
            decision.promise = data_time_with(key, self.facts, {})
            return True
        if windows is None or windows.has_open_window:
            return False
        begin = max(
            start, windows.next_reach(windows.reach(self.now)) if start <= self.now else start
        )
        if begin < inf:  # there is a next window
            decision.arrival = begin + allowance(stage.wait.then(stage.run))
            decision.promise = windows.reach(begin)
        return True

    def _expect_next_version(self, key: str, start: float) -> None:
        """Note when an asset that is not requested now is expected to have a newer version."""
        decision = self.decisions[key]
        inputs = self.inputs[key]
        if not self.claims[key] or start == inf:
            return
        if self.graph.assets[key].partitioned and self._expect_parts(key, start):
            return
        stage = self.facts.assets[key].stage
        if not inputs:
            decision.arrival = start + stage.at_most
            decision.promise = start
            return
        latest = decision.urgency.latest_start
        if latest > start and not self._improves(key, {}):
            start = latest  # it may well wait for a later sync
        decision.arrival = start + allowance(stage.wait.then(stage.run))
        decision.overdue = any(self.decisions[name].overdue for name in inputs)
        decision.promise = min(self._promised(key), default=None)

    def _promised(self, key: str) -> list[float]:
        """Return the promise of each input of `key`, or else its current data time."""
        found = []
        for name in self.inputs[key]:
            promise = self.decisions[name].promise
            found.append(self._data_time_or_oldest(key, name) if promise is None else promise)
        return found

    # --- reasons for people -------------------------------------------------------------------

    def _who_needs_it(self, urgency: Urgency) -> str:
        claim = urgency.claim
        if claim is None or urgency.deadline is None:
            return "no policy needs it"
        due = ""
        if urgency.deadline != -inf:
            due = f" by {clock(urgency.deadline, self.now, claim.policy.timezone)}"
        return f"{claim.target} needs newer data{due}, {span(claim.allowed)} from its start"

    def _why_urgent(self, urgency: Urgency) -> str:
        if urgency.deadline is None:
            return "there is no version of it yet"
        return self._who_needs_it(urgency)

    def _why_now(self, key: str) -> str:
        if self._is_due(key):
            return self._why_urgent(self.decisions[key].urgency)
        return "its inputs are ready, and newer ones would come too late"

    def _why_due(self, key: str) -> str:
        return self._why_urgent(self.decisions[key].urgency)

    def _oldest_input(self, key: str) -> str:
        return min(self.inputs[key], key=lambda name: self._data_time_or_oldest(key, name))


def _names(parts: Sequence[Part]) -> str:
    """Return the name of the first partition, and how many there are besides it."""
    more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
    return f"partition {parts[0].name}{more}"
