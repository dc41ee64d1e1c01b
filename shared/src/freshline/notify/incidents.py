"""Incidents: what one cause breaks, who was told of it, and what is still to be told.

Nothing here knows a clock, a database or a network. A target belongs to an incident from when its
promise breaks until it is kept again, whatever holds it up in between: while a late target comes
nearer, the asset that is blamed changes every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from freshline.notify.standing import Cause, Standing

__all__ = ["AddressesOf", "Due", "Incident", "Incidents", "Kind", "Part"]

AddressesOf: TypeAlias = Callable[[Iterable[str]], Iterable[str]]
"""Gives the ids of the addresses at which some owners hear of something."""

_VERSION: Final = 1
"""That of the form in which incidents are kept."""


class Kind(StrEnum):
    """What a message says."""

    BROKEN = "broken"
    STILL = "still broken"
    WHOLE = "whole"


class _Kept(BaseModel):
    """What is kept in the instance: another process goes on with it."""

    model_config = ConfigDict(extra="ignore")


class Member(_Kept):
    """A target of an incident."""

    location: str
    owners: tuple[str, ...]
    since: float
    """When its promise was broken: UTC, epoch seconds."""
    whole_at: float | None = None
    """When it was kept again; None: it is not."""
    reason: str = ""
    """How it stands, in a sentence."""


class Told(_Kept):
    """What one address was told of an incident."""

    at: float
    """When it was last told that something is broken: UTC, epoch seconds."""
    targets: tuple[str, ...]
    """The targets that it heard of."""


class Incident(_Kept):
    """Targets that one cause has broken."""

    cause: str
    """See `Cause.key`."""
    location: str
    """What holds them up: the location, ..."""
    asset: str
    """the asset ..."""
    phase: str | None
    """and its phase; None: a policy cannot be held."""
    blamed: tuple[str, ...] = ()
    """The owners of what holds or has held them up, and cannot go on by itself."""
    members: dict[str, Member] = {}
    told: dict[str, Told] = {}
    """Who knows of it, and was not told yet that it is over, by the ids of addresses."""

    def has_broken(self, target: str) -> bool:
        """Return whether `target` is one of those that are still broken."""
        member = self.members.get(target)
        return member is not None and member.whole_at is None

    def is_broken(self) -> bool:
        """Return whether a target is still broken."""
        return any(member.whole_at is None for member in self.members.values())

    def add(self, standing: Standing, cause: Cause) -> None:
        """Take over how a broken target stands, and what holds it up now."""
        key = standing.target
        since = self.members[key].since if self.has_broken(key) else standing.since
        self.members[key] = Member(
            location=standing.location,
            owners=standing.owners,
            since=since,
            reason=standing.reason,
        )
        if not cause.moves:
            self.location, self.asset, self.phase = cause.location, cause.asset, cause.phase
            self.blamed = tuple(sorted({*self.blamed, *cause.owners}))

    def take_over(self, other: Incident) -> None:
        """Make the targets of `other` this one's: they have the same cause."""
        self.members = {**other.members, **self.members}
        self.told = {**other.told, **self.told}
        self.blamed = tuple(sorted({*self.blamed, *other.blamed}))


class _Document(_Kept):
    version: Annotated[int, Field(le=_VERSION)] = _VERSION
    incidents: tuple[Incident, ...] = ()


class Part(NamedTuple):
    """What a message says about one incident."""

    incident: Incident
    targets: tuple[str, ...]


class Due(NamedTuple):
    """A message that is to be sent now."""

    kind: Kind
    address: str
    """The id of the address."""
    parts: tuple[Part, ...]
    """The incidents that it is about."""


class _Index:
    """Finds the incident of a broken target: there may be ten thousand of them at each look."""

    def __init__(self, incidents: Iterable[Incident]) -> None:
        self.incidents = list(incidents)
        self._by_target = {
            key: it for it in self.incidents for key in it.members if it.has_broken(key)
        }
        self._by_cause = {it.cause: it for it in self.incidents if it.is_broken()}

    def incident_for(self, target: str, cause: Cause) -> Incident:
        """Return the incident of a target that is broken, which may be a new one."""
        known, same = self._by_target.get(target), self._by_cause.get(cause.key)
        if known is None:
            found = same or self._new(cause)
        elif cause.key == known.cause or cause.key != f"location {known.location}":
            found = known
        else:
            found = self._widened(known, cause, same)
        self._by_target[target] = found
        return found

    def _new(self, cause: Cause) -> Incident:
        incident = Incident(
            cause=cause.key,
            location=cause.location,
            asset=cause.asset,
            phase=cause.phase,
            blamed=cause.owners,
        )
        self.incidents.append(incident)
        self._by_cause[cause.key] = incident
        return incident

    def _widened(self, known: Incident, cause: Cause, same: Incident | None) -> Incident:
        """Return the incident of a location, of which `known` first seemed to be one asset's."""
        self._by_cause.pop(known.cause, None)
        if same is None:
            known.cause = cause.key
            self._by_cause[cause.key] = known
            return known
        same.take_over(known)
        self.incidents = [it for it in self.incidents if it is not known]
        self._by_target.update((key, same) for key in known.members if same.has_broken(key))
        return same


@dataclass
class Incidents:
    """All incidents of which somebody is still to hear something."""

    open: list[Incident] = field(default_factory=list)

    # --- what has happened ----------------------------------------------------------------

    def update(self, standings: Mapping[str, Standing], now: float) -> None:
        """Take over how all targets stand at `now` (UTC, epoch seconds)."""
        for incident in self.open:
            for key, member in incident.members.items():
                standing = standings.get(key)
                if member.whole_at is None and (standing is None or standing.cause is None):
                    member.whole_at = now
                    member.reason = standing.reason if standing else "its policy is gone"
        index = _Index(self.open)
        for standing in standings.values():
            if standing.cause is not None:
                incident = index.incident_for(standing.target, standing.cause)
                incident.add(standing, standing.cause)
        self.open = [it for it in index.incidents if it.is_broken() or it.told]

    # --- what is to be told ---------------------------------------------------------------

    def due(self, addresses_of: AddressesOf, repeat_seconds: float | None, now: float) -> list[Due]:
        """Return the messages that are to be sent at `now`; `note` each one that was sent.

        Whoever owns what holds the targets up hears of all of them, everybody else of their own. An
        address gets one message of a kind: a hundred things may break at a time.
        """
        letters: dict[tuple[str, Kind], list[Part]] = {}
        for incident in self.open:
            everything = set(addresses_of(incident.blamed))
            reached = {key: set(addresses_of(it.owners)) for key, it in incident.members.items()}
            for address in sorted(everything.union(incident.told, *reached.values())):
                own = [key for key in reached if address in everything or address in reached[key]]
                kind, targets = _news(incident, address, own, repeat_seconds, now)
                if kind is not None:
                    letters.setdefault((address, kind), []).append(Part(incident, targets))
        return [Due(kind, address, tuple(parts)) for (address, kind), parts in letters.items()]

    def note(self, due: Due, now: float) -> None:
        """Note that a message was sent."""
        for incident, targets in due.parts:
            if due.kind is Kind.WHOLE:
                incident.told.pop(due.address, None)
                continue
            known = incident.told.get(due.address)
            heard = dict.fromkeys([*(known.targets if known else ()), *targets])
            incident.told[due.address] = Told(at=now, targets=tuple(heard))

    def forget_addresses(self, known: Iterable[str]) -> None:
        """Forget what was told to addresses that are not `known` any more, by their ids."""
        ids = set(known)
        for incident in self.open:
            incident.told = {it: told for it, told in incident.told.items() if it in ids}

    # --- how it is kept -------------------------------------------------------------------

    def to_json(self) -> str:
        """Return all that has to be known after a restart."""
        return _Document(incidents=tuple(self.open)).model_dump_json(exclude_defaults=True)

    @classmethod
    def from_json(cls, text: str | None) -> Incidents:
        """Return what `to_json` has written; None: nothing was.

        Raises `ValueError` if a newer freshline, or somebody else, has written it.
        """
        document: Any = _Document.model_validate_json(text) if text else _Document()
        return cls(list(document.incidents))


def _news(
    incident: Incident,
    address: str,
    own: Sequence[str],
    repeat_seconds: float | None,
    now: float,
) -> tuple[Kind | None, tuple[str, ...]]:
    """Return what an address has still to hear of an incident, and of which targets.

    `own` are the targets that are its business. None: nothing.
    """
    broken = tuple(key for key in own if incident.has_broken(key))
    told = incident.told.get(address)
    if told is None:
        return (Kind.BROKEN if broken else None), broken
    if not broken:
        return Kind.WHOLE, tuple(dict.fromkeys([*told.targets, *own]))
    repeats = repeat_seconds is not None and now - told.at >= repeat_seconds
    return (Kind.STILL if repeats else None), broken
