"""What the owners of assets are told, in words."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from freshline.model import Phase
from freshline.notify.incidents import Due, Incident, Kind, Part
from freshline.notify.standing import NOBODY
from freshline.words import span

__all__ = ["TEST_MESSAGE", "Message", "Tone", "message_of"]

_LISTED: Final = 20
"""More targets than this are counted, not listed: some services cut long messages off."""

_PHASES: Final = {
    Phase.WAIT: "waits",
    Phase.QUEUE: "waits in the queue",
    Phase.START: "is starting",
    Phase.EXECUTION: "is still running",
    Phase.FAILING: "fails",
    Phase.SILENT: "is silent",
    Phase.UNSCHEDULED: "is never requested",
    Phase.PAUSED: "is paused",
    Phase.UNKNOWN: "is not known",
}


class Tone(StrEnum):
    """How a service shows a message: the names are those of apprise."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


class Message(NamedTuple):
    """A message, as plain text."""

    title: str
    body: str
    tone: Tone


TEST_MESSAGE: Final = Message(
    "freshline: a test",
    "This is a test. Messages about assets that are behind their maximum lag arrive here.",
    Tone.INFO,
)


def message_of(due: Due, now: float) -> Message:
    """Return the message that is due at `now` (UTC, epoch seconds)."""
    text = "\n\n".join("\n".join(_section(part, due.kind)) for part in due.parts)
    targets = [key for part in due.parts for key in part.targets]
    named = f"{len(targets)} promises" if targets[1:] else f"{targets[0]}: its promise"
    be = "are" if targets[1:] else "is"
    # Of a policy that cannot be held, nothing is broken: somebody has to decide.
    infeasible = all(part.incident.phase is None for part in due.parts)
    if due.kind is Kind.WHOLE:
        ended = "can be held" if infeasible else f"{be} no longer broken"
        return Message(f"{named} {ended}, after {_lasted(due, now)}", text, Tone.SUCCESS)
    again = "Still: " if due.kind is Kind.STILL else ""
    if infeasible:
        return Message(f"{again}{named} cannot be held", text, Tone.WARNING)
    first, phase = next(
        (it.incident, it.incident.phase) for it in due.parts if it.incident.phase is not None
    )
    others = len(due.parts) - 1
    more = f", and {others} more cause{'' if others == 1 else 's'}" if others else ""
    return Message(f"{again}{named} {be} broken: {_cause(first, phase)}{more}", text, Tone.FAILURE)


def _lasted(due: Due, now: float) -> str:
    """Return how long the longest of the incidents lasted."""
    members = [(part.incident.members, key) for part in due.parts for key in part.targets]
    begun = [known[key].since for known, key in members if key in known]
    return span(now - min(begun, default=now))


def _section(part: Part, kind: Kind) -> list[str]:
    """Return the lines about one incident: its targets, and what holds them up."""
    incident = part.incident
    lines = _listed(incident, part.targets)
    if kind is Kind.WHOLE or incident.phase is None:
        return lines
    owners = ", ".join(it for it in incident.blamed if it != NOBODY) or "nobody"
    return [*lines, "", f"Held up by: {_cause(incident, incident.phase)}", f"Its owners: {owners}"]


def _cause(incident: Incident, phase: str) -> str:
    phase = Phase(phase)
    if phase in (Phase.SILENT, Phase.PAUSED):
        return f"{incident.location} {_PHASES[phase]}"
    return f"{incident.asset} ({incident.location}) {_PHASES[phase]}"


def _listed(incident: Incident, targets: Sequence[str]) -> list[str]:
    """Return a line for each target, with its location, its owners and how it stands."""
    lines = []
    for key in targets[:_LISTED]:
        member = incident.members.get(key)
        if member is None:
            continue
        owners = ", ".join(it for it in member.owners if it != NOBODY)
        whose = f"{member.location}, {owners}" if owners else member.location
        lines.append(f"{key} ({whose}): {member.reason}")
    if len(targets) > _LISTED:
        lines.append(f"and {len(targets) - _LISTED} more")
    return lines
