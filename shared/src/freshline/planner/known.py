"""What is known when the next asset is decided about: the present, and the decisions so far.

Decisions are made inputs first. So for every input it is known whether it is requested now, when
its next version is expected, and which data time that version will have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from freshline.model import Reads
from freshline.planner.claims import Claim, Urgency
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage
from freshline.planner.parts import Choice

__all__ = ["Decision", "Known"]


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
    """Its run, or one that it waits for, takes longer than was expected: then `arrival` moves with
    the clock."""
    reason: str = ""
    cause: str = ""
    """Why it is requested now, in a few words that stay true."""
    parts: tuple[str, ...] = ()
    """The partitions to request."""
    together: bool = False
    """Whether one run makes all of them."""


class Known:
    """The facts, the claims, and the decisions so far; answers questions about them."""

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

    def is_due(self, key: str) -> bool:
        """Return whether a start at the next tick of its location would be too late."""
        return self.is_late_for(key, self.decisions[key].urgency)

    def is_late_for(self, key: str, urgent: Urgency) -> bool:
        """Return whether a start at the next tick of `key` would be too late for `urgent`."""
        late = self.facts.passed(urgent.latest_start - self.facts.assets[key].tick)
        return late and self.facts.reached(urgent.not_before)

    def improves(self, key: str, joined: Mapping[str, float]) -> bool:
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

    def better_inputs_at(self, key: str, joined: Mapping[str, float]) -> float | None:
        """Return when newer inputs come that are worth waiting for; None: start without them."""
        if self.is_due(key):
            return self.superseded_at(key, {})
        latest = self.decisions[key].urgency.latest_start
        oldest = self.oldest_inputs(key, {})
        arrival = max(self.decisions[name].arrival for name in oldest)
        in_time = latest
        if not joined.keys() >= set(oldest):
            in_time -= self.facts.assets[key].tick
        if self.awaits_overdue(key):
            self.facts.changes_at(self.now + in_time - arrival)
        return arrival if arrival <= in_time else None

    def awaits_overdue(self, key: str) -> bool:
        """Return whether `key` has an input of which nobody knows when it comes."""
        return any(self.decisions[name].overdue for name in self.inputs[key])

    def superseded_at(self, key: str, joined: Mapping[str, float]) -> float | None:
        """Return when newer inputs come that make a run now superfluous; None: none will.

        There are two cases. The inputs that are there may be so old that the next run would have
        to start before this one ends: then a run now would only delay the next one. Or a target
        has been late for longer than the newer inputs still need, and these come within two runs:
        then it can wait for them too. So an outage ends with one run, on the data that is on its
        way, and not with two in a row.
        """
        asset = self.facts.assets[key]
        oldest = self.oldest_inputs(key, joined)
        if any(name in joined for name in oldest):
            return None
        available = self.data_time_of_run(key, joined)
        due = [
            claim
            for claim in self.claims[key]
            if asset.data_time is None
            or self.facts.passed(claim.latest_start(asset.data_time) - asset.tick)
        ]
        busy = asset.stage.run.mean
        arrival = self._served_at(key, due, available, busy + asset.tick) if due else None
        if arrival is None:
            return None
        self.facts.changes_now()
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
            data_time = self.data_time_of_run(key, there)
            if data_time > available and all(
                claim.latest_start(data_time) >= arrival + ahead for claim in due
            ):
                return arrival
        return None

    def worth_joining(self, key: str, joined: Mapping[str, float]) -> bool:
        """Return whether `key` should go into the run that makes the inputs in `joined`.

        Not if it would have to wait for them for too long. And not if even newer inputs than
        those of that run will come in time.
        """
        tick = self.facts.assets[key].tick
        latest = self.decisions[key].urgency.latest_start
        begin = max(self.decisions[name].arrival for name in joined)
        otherwise = max(self.decisions[name].arrival for name in self.oldest_inputs(key, {}))
        if begin > max(latest, otherwise + tick):
            return False
        newer = max(
            self.decisions[name].successor_arrival
            if name in joined
            else self.decisions[name].arrival
            for name in self.oldest_inputs(key, joined)
        )
        return newer > latest - tick

    def oldest_inputs(self, key: str, joined: Mapping[str, float]) -> list[str]:
        """Return the inputs with the oldest data time: newer data needs new versions of all."""
        data_times = {
            name: joined[name] if name in joined else self.data_time_or_oldest(key, name)
            for name in self.inputs[key]
        }
        oldest = min(data_times.values())
        return [name for name, value in data_times.items() if value <= oldest]

    def improvement_at(self, key: str) -> float:
        """Return when all inputs that `key` has already used will be newer; inf: never."""
        own = self.facts.assets[key].data_time
        used = [
            name
            for name in self.inputs[key]
            if self.facts.assets[name].data_time is None
            or (own is not None and self.data_time_or_oldest(key, name) <= own)
        ]
        return max((self.decisions[name].arrival for name in used), default=inf)

    def joined(self, key: str) -> dict[str, float]:
        """Return the inputs that the same run would make, with their data times then."""
        location = self.facts.assets[key].location
        joined: dict[str, float] = {}
        for name in self.inputs[key]:
            if self.locations.get(name) == location and self._has_same_parts(key, name):
                promise = self.decisions[name].promise
                joined[name] = self.now if promise is None else promise
        return joined

    def joined_parts(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return the inputs that the same runs would make, with the partitions of these runs."""
        return {name: self.decisions[name].parts for name in self.joined(key)}

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

    def prerequisites_in_run(self, key: str) -> set[str]:
        """Return the static inputs and views that the same run would make."""
        location = self.facts.assets[key].location
        return {name for name in self.prerequisites[key] if self.locations.get(name) == location}

    def data_time_or_oldest(self, key: str, name: str) -> float:
        data_time = self.facts.data_time_of_input(key, name)
        return -inf if data_time is None else data_time

    def data_time_of_run(self, key: str, joined: Mapping[str, float]) -> float:
        """Return the data time that a run would give `key`, with the inputs `joined` made in it."""
        return min(
            joined[name] if name in joined else self.data_time_or_oldest(key, name)
            for name in self.inputs[key]
        )

    def lacks_input(self, key: str, alone: bool) -> bool:
        """Return whether an input of `key` was never made and is not made in the same run."""
        unmade = self.facts.unmade
        if not unmade:
            return False
        joined = set() if alone else self.joined(key).keys() | self.prerequisites_in_run(key)
        return any(
            name in unmade and name not in joined
            for name in (*self.inputs[key], *self.prerequisites[key])
        )

    def oldest_input(self, key: str) -> str:
        return min(self.inputs[key], key=lambda name: self.data_time_or_oldest(key, name))
