"""How a code location stands: what keeps runs of it from being requested."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from freshline.contract import Contract
from freshline.model import DEFAULT_TICK, Snapshot
from freshline.status.document import Location

__all__ = ["location_of"]


def location_of(
    contract: Contract,
    snapshot: Snapshot,
    silent: Collection[str],
    stopped_sensors: Sequence[str] = (),
    replaced: str | None = None,
) -> Location:
    """Return how the location of `contract` stands. `silent` are those that are not heard of.

    `replaced` says which location makes its assets now.
    """
    name = contract.location
    pause = snapshot.pauses.get(name)
    return Location(
        location=name,
        last_heard_of=snapshot.seen.get(name),
        silent=name in silent,
        stopped_sensors=tuple(stopped_sensors),
        observes=contract.observes,
        declared_tick_seconds=contract.tick_seconds or DEFAULT_TICK,
        measured_tick_seconds=snapshot.ticks.get(name),
        paused_until=pause.until if pause else None,
        pause_reason=pause.reason if pause else None,
        problem=None,
        replaced=replaced,
    )
