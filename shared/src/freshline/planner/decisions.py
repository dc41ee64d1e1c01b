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

from freshline.model import Pending
from freshline.planner.claims import Claim, Urgency, urgency
from freshline.planner.estimate import allowance
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage, Unit
from freshline.planner.words import clock, span

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
class _Verdict:
    """What one asset of a unit would have the unit do."""

    go: bool
    reason: str
    start: float = inf
    alone: bool = False


def decisions_of(
    lineage: Lineage, facts: Facts, claims: Mapping[str, tuple[Claim, ...]]
) -> dict[str, Decision]:
    made = _Decisions(lineage, facts, claims)
    for unit in lineage.units:
        made.decide(unit)
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

    def decide(self, unit: Unit) -> None:
        facts = self.facts
        for key in unit.keys:
            self.decisions[key] = Decision(urgency(self.claims[key], facts.data[key]))
        pending = facts.pending.get(unit.keys[0])
        stuck = facts.stuck.get(unit.keys[0])
        if pending:
            for key in unit.keys:
                self._await(key, pending)
        elif stuck and stuck.phase != "failing":
            for key in unit.keys:
                self.decisions[key].reason = stuck.message
        else:
            self._choose(unit)

    # --- a unit that could be requested ----------------------------------------------------

    def _choose(self, unit: Unit) -> None:
        verdicts = {key: self._verdict(key, unit) for key in unit.keys if self.claims[key]}
        alone = any(verdict.go and verdict.alone for verdict in verdicts.values())
        leader = next((key for key, verdict in verdicts.items() if verdict.go), None)
        lacking = None
        if leader is not None:
            lacking = next((key for key in verdicts if self._lacks_input(key, unit, alone)), None)
        retry_at = self.facts.retry_at.get(unit.keys[0], -inf)
        if leader is not None and lacking is None and retry_at <= self.now:
            for key in unit.keys:
                verdict = verdicts.get(key)
                reason = verdict.reason if verdict and verdict.go else f"made with {leader}"
                self._request(key, unit, reason, alone=alone)
            self._foresee_successor(unit)
            return
        start = min((verdict.start for verdict in verdicts.values()), default=inf)
        start = max(start, retry_at)
        for key in unit.keys:
            decision = self.decisions[key]
            decision.start = start if start < inf else None
            decision.reason = verdicts[key].reason if key in verdicts else "no policy needs it now"
            if lacking is not None and lacking != key:
                decision.reason = f"made with {lacking}, which lacks an input"
            elif leader is not None and lacking is None:
                decision.reason = (
                    f"{self.facts.held[key].message}; next attempt at {clock(retry_at)}"
                )
            self._foresee(key, start)

    def _verdict(self, key: str, unit: Unit) -> _Verdict:
        decision = self.decisions[key]
        latest = decision.urgency.latest_start
        inputs = self.inputs[key]
        if not inputs:
            if self.now + unit.tick > latest:
                return _Verdict(True, self._urgent(decision.urgency))
            return _Verdict(
                False, f"not before {clock(latest)}: {self._asked(decision.urgency)}", latest
            )
        joined = self._joined(key, unit)
        if self._improves(key, {}):
            wait = self._better(key, unit, joined)
            if wait is None:
                return _Verdict(True, self._why_now(decision, unit), alone=bool(joined))
        else:
            wait = self._next_input(key)
        if joined and self._improves(key, joined) and self._worth_joining(key, joined, unit):
            outdone = self._outdone_at(key, unit, joined)
            if outdone is None:
                names = " and ".join(sorted(joined))
                return _Verdict(True, f"right after {names}, in the same run")
            wait = outdone
        if wait is None or wait == inf:
            return _Verdict(False, f"its inputs hold nothing new ({self._lowest(inputs)})")
        return _Verdict(
            False,
            f"waits for {self._lowest(inputs)}, expected at {clock(wait)}, "
            f"to start by {clock(latest)}",
            wait,
        )

    def _lacks_input(self, key: str, unit: Unit, alone: bool) -> bool:
        """Whether an input of `key` has never been made, nor will be in the same run."""
        joined = {} if alone else self._joined(key, unit)
        return any(
            self.facts.states[name].version is None and name not in joined
            for name in self.inputs[key]
        )

    # --- the questions ----------------------------------------------------------------------

    def _improves(self, key: str, joined: Mapping[str, float]) -> bool:
        """Whether a run now would give `key` newer data than it has.

        `joined` holds the data times that inputs will have in the same run. Where a data time
        is unknown, a version that came after the asset's own is taken for an improvement.
        """
        facts = self.facts
        own = facts.states[key].version
        lowest = inf
        known = own is None or own.data_time is not None
        newest = False
        for name in self.inputs[key]:
            if name in joined:
                newest = True
                lowest = min(lowest, joined[name])
                continue
            version = facts.states[name].version
            if version is None:
                return False
            if version.data_time is None:
                known = False
            newest = newest or own is None or version.id > own.id
            lowest = min(lowest, facts.data[name] or 0.0)
        if own is None:
            return True
        if not known:
            return newest
        return lowest > (own.data_time or 0.0)

    def _better(self, key: str, unit: Unit, joined: Mapping[str, float]) -> float | None:
        """When newer inputs will be there that are worth waiting for; None: start now."""
        latest = self.decisions[key].urgency.latest_start
        if self.now + unit.tick > latest:
            return self._outdone_at(key, unit, {})
        limiting = self._limiting(key, {})
        arrival = max(self.decisions[name].arrival for name in limiting)
        in_time = latest if joined.keys() >= set(limiting) else latest - unit.tick
        return arrival if arrival <= in_time else None

    def _outdone_at(self, key: str, unit: Unit, joined: Mapping[str, float]) -> float | None:
        """When newer inputs will be there that make a run now superfluous; None: none will.

        An asset is busy while it runs. Is what it could take now so old that its successor
        would have to start before that run ends, then a run now only prolongs the trouble. And
        a target that has been late for longer than the newer inputs take can wait for them, if
        they take no longer than two runs. This is what outages end with: one run with the data
        that is already on its way, not two in a row.
        """
        facts = self.facts
        limiting = self._limiting(key, joined)
        if any(name in joined for name in limiting):
            return None
        data, taken = facts.data[key], self._data_of(key, joined)
        due = [
            claim
            for claim in self.claims[key]
            if data is None or self.now + unit.tick > claim.latest_start(data)
        ]
        busy = facts.stages[key].run.mean
        arrival = self._served_at(key, due, taken, busy + unit.tick) if due else None
        if arrival is None:
            return None
        versions = [facts.states[name].version for name in limiting]
        came = max((version.at for version in versions if version), default=self.now)
        if self.now - came <= max(2 * unit.tick, arrival - self.now):
            return None  # or each could be passed over for the next one, for ever
        end = max((self.decisions[name].arrival for name in joined), default=self.now) + busy
        for claim in due:
            good_until = claim.latest_start(taken)
            patient = facts.late_for(claim.target, claim.policy) > arrival - self.now
            soon = arrival <= end + busy + unit.tick
            if good_until >= end and not (patient and soon):
                return None
        return arrival

    def _served_at(self, key: str, due: list[Claim], taken: float, ahead: float) -> float | None:
        """When inputs newer than `taken` are expected that will serve each of the `due` claims
        for more than the seconds `ahead`."""
        if not all(claim.feasible for claim in due):
            return None
        sure = {
            name: self.decisions[name]
            for name in self.inputs[key]
            if name not in self.facts.held and not self.decisions[name].overdue
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

    def _worth_joining(self, key: str, joined: Mapping[str, float], unit: Unit) -> bool:
        """Whether to start in one run with the inputs in `joined`, right after the last of them.

        Not when one of them keeps it from starting in time, and not when inputs even newer
        than what that run has will be there in time.
        """
        latest = self.decisions[key].urgency.latest_start
        begin = max(self.decisions[name].arrival for name in joined)
        otherwise = max(self.decisions[name].arrival for name in self._limiting(key, {}))
        if begin > max(latest, otherwise + unit.tick):
            return False
        newer = max(
            self.decisions[name].after if name in joined else self.decisions[name].arrival
            for name in self._limiting(key, joined)
        )
        return newer > latest - unit.tick

    def _limiting(self, key: str, joined: Mapping[str, float]) -> list[str]:
        """The inputs with the oldest data: nothing improves until all of these do."""
        data = {
            name: joined[name] if name in joined else self._data_or_never(name)
            for name in self.inputs[key]
        }
        lowest = min(data.values())
        return [name for name, value in data.items() if value <= lowest]

    def _next_input(self, key: str) -> float:
        """When an asset whose inputs are all used up can expect an improvement."""
        own = self.facts.data[key]
        used = [
            name
            for name in self.inputs[key]
            if self.facts.data[name] is None
            or (own is not None and self._data_or_never(name) <= own)
        ]
        return max((self.decisions[name].arrival for name in used), default=inf)

    def _joined(self, key: str, unit: Unit) -> dict[str, float]:
        """The inputs that are requested now by the same location, and what they will have."""
        joined: dict[str, float] = {}
        for name in self.inputs[key]:
            if self.locations.get(name) == unit.location:
                promise = self.decisions[name].promise
                joined[name] = self.now if promise is None else promise
        return joined

    def _data_or_never(self, name: str) -> float:
        data = self.facts.data[name]
        return -inf if data is None else data

    def _data_of(self, key: str, joined: Mapping[str, float]) -> float:
        return min(
            joined[name] if name in joined else self._data_or_never(name)
            for name in self.inputs[key]
        )

    # --- what follows for those downstream --------------------------------------------------

    def _request(self, key: str, unit: Unit, reason: str, *, alone: bool) -> None:
        decision = self.decisions[key]
        joined = self._joined(key, unit) if not alone else {}
        begin = max((self.decisions[name].arrival for name in joined), default=self.now)
        decision.request = True
        decision.alone = alone
        decision.reason = reason
        decision.start = self.now
        decision.arrival = begin + self.facts.stages[key].at_most
        promise = self._data_of(key, joined) if self.inputs[key] else self.now
        decision.promise = promise if promise > -inf else None
        self.locations[key] = "" if alone else unit.location

    def _foresee_successor(self, unit: Unit) -> None:
        """When the version after the one requested now is expected: as late as it can be."""
        made = {key: self.decisions[key] for key in unit.keys}
        start = max(
            max(decision.arrival for decision in made.values()),
            min(urgency(self.claims[key], made[key].promise).latest_start for key in made),
        )
        for key, decision in made.items():
            decision.after = start + self.facts.stages[key].at_most

    def _await(self, key: str, pending: Pending) -> None:
        """An asset with a run that has still to deliver it."""
        decision = self.decisions[key]
        stage = self.facts.stages[key]
        together = [
            name
            for name in self.inputs[key]
            if (other := self.facts.pending.get(name))
            and other.run_id == pending.run_id
            and name in self.decisions  # not in a cycle
        ]
        if pending.started_at is not None:
            expected = pending.started_at + allowance(stage.execution)
        else:
            expected = pending.requested_at + stage.at_most
        behind = max((self.decisions[name].arrival for name in together), default=-inf)
        expected = max(expected, behind + allowance(stage.execution))
        decision.start = pending.started_at or pending.requested_at
        decision.arrival = max(self.now, expected)
        decision.overdue = expected < self.now or any(
            self.decisions[name].overdue for name in together
        )
        promises = [self.decisions[name].promise for name in together]
        taken = self.facts.taken[key]
        known = [promise for promise in promises if promise is not None]
        decision.promise = min(known) if known and len(known) == len(self.inputs[key]) else taken
        doing = "in progress" if pending.started_at is not None else "queued"
        decision.reason = f"{doing} since {clock(decision.start)}, expected by {clock(expected)}"

    def _foresee(self, key: str, start: float) -> None:
        """When an asset that is not requested now will have a newer version."""
        decision = self.decisions[key]
        inputs = self.inputs[key]
        if not self.claims[key] or start == inf:
            return
        stage = self.facts.stages[key]
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

    def _why_now(self, decision: Decision, unit: Unit) -> str:
        if self.now + unit.tick > decision.urgency.latest_start:
            return self._urgent(decision.urgency)
        return "its inputs are ready, and newer ones would come too late"

    def _lowest(self, inputs: Iterable[str]) -> str:
        return min(inputs, key=self._data_or_never)
