"""Which assets start now, and what each of the others waits for.

One pass, inputs first, so that for every input it is known whether it has just been
requested, when its next version is expected, and of which data time.

A root starts at the last tick before its latest start. Any other asset

- never starts on inputs that would not improve it;
- waits for newer inputs as long as they are expected before its latest start, so that it
  joins the last sync that still meets its deadline;
- starts at once when waiting gains nothing, and at its latest start in any case;
- joins the run of an input of its own location, when it would start right after it anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from freshline.model import Pending, Phase, data_time_of
from freshline.planner.claims import Claim, Urgency, urgency
from freshline.planner.estimate import allowance
from freshline.planner.facts import Facts
from freshline.planner.lineage import ExecutionSet, Lineage
from freshline.words import clock, span

__all__ = ["Decision", "decisions_of"]


@dataclass(slots=True)
class Decision:
    """What becomes of one asset."""

    urgency: Urgency
    request: bool = False
    alone: bool = False
    """Not in one run with the others of its location: it cannot wait for them."""
    start: float | None = None
    """When it is expected to start next."""
    arrival: float = inf
    """When its next version is expected."""
    promise: float | None = None
    """The data time which that version will have at least."""
    after: float = inf
    """When the version after a requested one is expected."""
    overdue: bool = False
    """It, or what it waits for, is being made for longer than was expected."""
    reason: str = ""


@dataclass(slots=True)
class _Vote:
    """What one asset would have its execution set do: start now, or wait."""

    go: bool
    reason: str
    start: float = inf
    """When it would start, if not now."""
    alone: bool = False


def decisions_of(
    lineage: Lineage, facts: Facts, claims: Mapping[str, tuple[Claim, ...]]
) -> dict[str, Decision]:
    """Return what becomes of every asset in `lineage`, by key."""
    made = _Decisions(lineage, facts, claims)
    for execution_set in lineage.execution_sets:
        made.decide(execution_set)
    return made.decisions


class _Decisions:
    def __init__(
        self, lineage: Lineage, facts: Facts, claims: Mapping[str, tuple[Claim, ...]]
    ) -> None:
        self.inputs = lineage.inputs
        self.facts = facts
        self.now = facts.now
        self.claims = claims
        self.decisions: dict[str, Decision] = {}
        self.locations: dict[str, str] = {}
        """The location of each asset that is requested now."""

    def decide(self, execution_set: ExecutionSet) -> None:
        for key in execution_set.keys:
            self.decisions[key] = Decision(urgency(self.claims[key], self.facts.assets[key].data))
        first = self.facts.assets[execution_set.keys[0]]
        if first.pending:
            for key in execution_set.keys:
                self._await(key, first.pending)
        elif first.stuck and first.stuck.phase is not Phase.FAILING:
            for key in execution_set.keys:
                self.decisions[key].reason = first.stuck.message
        else:
            self._choose(execution_set, first.retry_at)

    # --- an execution set that could be requested --------------------------------------------

    def _choose(self, execution_set: ExecutionSet, retry_at: float) -> None:
        votes = {key: self._vote(key) for key in execution_set.keys if self.claims[key]}
        alone = any(vote.go and vote.alone for vote in votes.values())
        leader = next((key for key, vote in votes.items() if vote.go), None)
        lacking = None
        if leader is not None:
            lacking = next((key for key in votes if self._lacks_input(key, alone)), None)
        if leader is not None and lacking is None and retry_at <= self.now:
            for key in execution_set.keys:
                vote = votes.get(key)
                reason = vote.reason if vote and vote.go else f"made with {leader}"
                self._request(key, reason, alone=alone)
            self._foresee_successor(execution_set)
            return
        start = max(min((vote.start for vote in votes.values()), default=inf), retry_at)
        for key in execution_set.keys:
            decision = self.decisions[key]
            decision.start = start if start < inf else None
            decision.reason = votes[key].reason if key in votes else "no policy needs it now"
            held = self.facts.assets[key].held
            if lacking is not None and lacking != key:
                decision.reason = f"made with {lacking}, which lacks an input"
            elif leader is not None and lacking is None and held:
                decision.reason = f"{held.message}; next attempt at {clock(retry_at)}"
            self._foresee(key, start)

    def _vote(self, key: str) -> _Vote:
        decision = self.decisions[key]
        latest = decision.urgency.latest_start
        inputs = self.inputs[key]
        if not inputs:
            if self._is_due(key):
                return _Vote(True, self._urgent(decision.urgency))
            return _Vote(
                False, f"not before {clock(latest)}: {self._asked(decision.urgency)}", latest
            )
        joined = self._joined(key)
        if self._improves(key, {}):
            wait = self._better(key, joined)
            if wait is None:
                return _Vote(True, self._why_now(key), alone=bool(joined))
        else:
            wait = self._next_input(key)
        if joined and self._improves(key, joined) and self._worth_joining(key, joined):
            superseded = self._superseded_at(key, joined)
            if superseded is None:
                names = " and ".join(sorted(joined))
                return _Vote(True, f"right after {names}, in the same run")
            wait = superseded
        if wait is None or wait == inf:
            return _Vote(False, f"its inputs hold nothing new ({self._lowest(inputs)})")
        return _Vote(
            False,
            f"waits for {self._lowest(inputs)}, expected at {clock(wait)}, "
            f"to start by {clock(latest)}",
            wait,
        )

    def _lacks_input(self, key: str, alone: bool) -> bool:
        """Return whether an input of `key` was never made and is not made in the same run."""
        joined = {} if alone else self._joined(key)
        return any(
            self.facts.assets[name].state.version is None and name not in joined
            for name in self.inputs[key]
        )

    # --- the questions ----------------------------------------------------------------------

    def _is_due(self, key: str) -> bool:
        """Return whether the next tick of its location would be too late."""
        latest = self.decisions[key].urgency.latest_start
        return self.now + self.facts.assets[key].tick > latest

    def _improves(self, key: str, joined: Mapping[str, float]) -> bool:
        """Return whether a run now would give `key` newer data than it has.

        `joined` holds the data times that inputs will have in the same run. Where a data time
        is unknown, a version that came after the asset's own is taken for an improvement.
        """
        own = self.facts.assets[key].state.version
        lowest = inf
        known = own is None or own.data_time is not None
        newest = False
        for name in self.inputs[key]:
            if name in joined:
                newest = True
                lowest = min(lowest, joined[name])
                continue
            version = self.facts.assets[name].state.version
            if version is None:
                return False
            if version.data_time is None:
                known = False
            newest = newest or own is None or version.id > own.id
            lowest = min(lowest, self.facts.assets[name].data or 0.0)
        if own is None:
            return True
        if not known:
            return newest
        return lowest > (own.data_time or 0.0)

    def _better(self, key: str, joined: Mapping[str, float]) -> float | None:
        """Return when newer inputs come that are worth waiting for; None: start now."""
        if self._is_due(key):
            return self._superseded_at(key, {})
        latest = self.decisions[key].urgency.latest_start
        limiting = self._limiting(key, {})
        arrival = max(self.decisions[name].arrival for name in limiting)
        in_time = latest
        if not joined.keys() >= set(limiting):
            in_time -= self.facts.assets[key].tick
        return arrival if arrival <= in_time else None

    def _superseded_at(self, key: str, joined: Mapping[str, float]) -> float | None:
        """Return when newer inputs come that make a run now superfluous; None: none will.

        An asset is busy while it runs. If the inputs that it could take now are so old that its
        next run would have to start before this one ends, a run now only prolongs the trouble.
        And a target that has been late for longer than the newer inputs take can wait for them,
        if they take no longer than two runs. So an outage ends with one run on the data that is
        already on its way, not with two in a row.
        """
        asset = self.facts.assets[key]
        limiting = self._limiting(key, joined)
        if any(name in joined for name in limiting):
            return None
        taken = self._data_of(key, joined)
        due = [
            claim
            for claim in self.claims[key]
            if asset.data is None or self.now + asset.tick > claim.latest_start(asset.data)
        ]
        busy = asset.stage.run.mean
        arrival = self._served_at(key, due, taken, busy + asset.tick) if due else None
        if arrival is None:
            return None
        versions = [self.facts.assets[name].state.version for name in limiting]
        came = max((version.at for version in versions if version), default=self.now)
        if self.now - came <= max(2 * asset.tick, arrival - self.now):
            return None  # or each could be passed over for the next one, for ever
        end = max((self.decisions[name].arrival for name in joined), default=self.now) + busy
        for claim in due:
            good_until = claim.latest_start(taken)
            patient = self.facts.late_for(claim.target, claim.policy) > arrival - self.now
            soon = arrival <= end + busy + asset.tick
            if good_until >= end and not (patient and soon):
                return None
        return arrival

    def _served_at(self, key: str, due: list[Claim], taken: float, ahead: float) -> float | None:
        """Return when inputs newer than `taken` are expected that will serve each of the `due`
        claims for more than the seconds `ahead`."""
        if not all(claim.feasible for claim in due):
            return None
        sure = {
            name: self.decisions[name]
            for name in self.inputs[key]
            if not self.facts.assets[name].held and not self.decisions[name].overdue
        }
        for arrival in sorted({decision.arrival for decision in sure.values()}):
            if not self.now < arrival < inf:
                continue
            there = {
                name: decision.promise
                for name, decision in sure.items()
                if decision.arrival <= arrival and decision.promise is not None
            }
            data = self._data_of(key, there)
            if data > taken and all(claim.latest_start(data) >= arrival + ahead for claim in due):
                return arrival
        return None

    def _worth_joining(self, key: str, joined: Mapping[str, float]) -> bool:
        """Return whether to start in one run with the inputs in `joined`, after the last of them.

        Not when one of them keeps it from starting in time, and not when inputs even newer
        than what that run has will be there in time.
        """
        tick = self.facts.assets[key].tick
        latest = self.decisions[key].urgency.latest_start
        begin = max(self.decisions[name].arrival for name in joined)
        otherwise = max(self.decisions[name].arrival for name in self._limiting(key, {}))
        if begin > max(latest, otherwise + tick):
            return False
        newer = max(
            self.decisions[name].after if name in joined else self.decisions[name].arrival
            for name in self._limiting(key, joined)
        )
        return newer > latest - tick

    def _limiting(self, key: str, joined: Mapping[str, float]) -> list[str]:
        """Return the inputs with the oldest data: nothing improves until all of these do."""
        data = {
            name: joined[name] if name in joined else self._data_or_never(name)
            for name in self.inputs[key]
        }
        lowest = min(data.values())
        return [name for name, value in data.items() if value <= lowest]

    def _next_input(self, key: str) -> float:
        """Return when an asset whose inputs are all used up can expect an improvement."""
        own = self.facts.assets[key].data
        used = [
            name
            for name in self.inputs[key]
            if self.facts.assets[name].data is None
            or (own is not None and self._data_or_never(name) <= own)
        ]
        return max((self.decisions[name].arrival for name in used), default=inf)

    def _joined(self, key: str) -> dict[str, float]:
        """Return the inputs that the same location requests now, and their data times then."""
        location = self.facts.assets[key].location
        joined: dict[str, float] = {}
        for name in self.inputs[key]:
            if self.locations.get(name) == location:
                promise = self.decisions[name].promise
                joined[name] = self.now if promise is None else promise
        return joined

    def _data_or_never(self, name: str) -> float:
        data = self.facts.assets[name].data
        return -inf if data is None else data

    def _data_of(self, key: str, joined: Mapping[str, float]) -> float:
        return min(
            joined[name] if name in joined else self._data_or_never(name)
            for name in self.inputs[key]
        )

    # --- what follows for those downstream --------------------------------------------------

    def _request(self, key: str, reason: str, *, alone: bool) -> None:
        asset = self.facts.assets[key]
        decision = self.decisions[key]
        joined = self._joined(key) if not alone else {}
        begin = max((self.decisions[name].arrival for name in joined), default=self.now)
        decision.request = True
        decision.alone = alone
        decision.reason = reason
        decision.start = self.now
        decision.arrival = begin + asset.stage.at_most
        promise = self._data_of(key, joined) if self.inputs[key] else self.now
        decision.promise = promise if promise > -inf else None
        self.locations[key] = "" if alone else asset.location

    def _foresee_successor(self, execution_set: ExecutionSet) -> None:
        """Note when the version after the requested one is expected: as late as it can be."""
        made = {key: self.decisions[key] for key in execution_set.keys}
        start = max(
            max(decision.arrival for decision in made.values()),
            min(urgency(self.claims[key], made[key].promise).latest_start for key in made),
        )
        for key, decision in made.items():
            decision.after = start + self.facts.assets[key].stage.at_most

    def _await(self, key: str, pending: Pending) -> None:
        """Note what is expected of an asset with a run that has still to deliver it."""
        asset = self.facts.assets[key]
        decision = self.decisions[key]
        execution = allowance(asset.stage.execution)
        together = [
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
        expected = max([expected, *(other.arrival + execution for other in together)])
        decision.start = pending.started_at or pending.requested_at
        decision.arrival = max(self.now, expected)
        decision.overdue = expected < self.now or any(other.overdue for other in together)
        promise = data_time_of(other.promise for other in together)
        whole = promise is not None and len(together) == len(self.inputs[key])
        decision.promise = promise if whole else asset.taken
        doing = "in progress" if pending.started_at is not None else "queued"
        decision.reason = f"{doing} since {clock(decision.start)}, expected by {clock(expected)}"

    def _foresee(self, key: str, start: float) -> None:
        """Note when an asset that is not requested now will have a newer version."""
        decision = self.decisions[key]
        inputs = self.inputs[key]
        if not self.claims[key] or start == inf:
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
        decision.promise = min(self._promised(inputs), default=None)

    def _promised(self, inputs: Iterable[str]) -> list[float]:
        found = []
        for name in inputs:
            promise = self.decisions[name].promise
            found.append(self._data_or_never(name) if promise is None else promise)
        return found

    # --- the words ----------------------------------------------------------------------------

    def _asked(self, urgency: Urgency) -> str:
        claim = urgency.claim
        if claim is None or urgency.deadline is None:
            return "no policy needs it"
        due = "" if urgency.deadline == -inf else f" by {clock(urgency.deadline)}"
        return f"{claim.target} needs newer data{due}, {span(claim.allowed)} from its start"

    def _urgent(self, urgency: Urgency) -> str:
        if urgency.deadline is None:
            return "there is no version of it yet"
        return self._asked(urgency)

    def _why_now(self, key: str) -> str:
        if self._is_due(key):
            return self._urgent(self.decisions[key].urgency)
        return "its inputs are ready, and newer ones would come too late"

    def _lowest(self, inputs: Iterable[str]) -> str:
        return min(inputs, key=self._data_or_never)
