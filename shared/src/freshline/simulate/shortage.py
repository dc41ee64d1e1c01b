"""How many slots and pool places the runs of a simulation take, and how many would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from freshline.model import SLOTS, Capacity
from freshline.simulate.world import World

__all__ = ["Shortage", "places_taken", "shortage_of"]


@dataclass(frozen=True, slots=True)
class Shortage:
    """There are too few slots, or too few places in a pool, for the policies."""

    given: int
    work: float
    """How many the runs take on average if there are any number."""
    enough: int
    """The fewest with which the policies hold."""


def places_taken(world: World, name: str, begin: float, end: float) -> tuple[float, int]:
    """Return how many slots, or places in the pool `name`, runs took from `begin` to `end`.

    That is on average over these seconds, and at once.
    """
    changes: list[tuple[float, int]] = []
    for run in world.runs:
        if run.launched_at is None or (name != SLOTS and name not in world.pools(run)):
            continue
        first, last = max(begin, run.launched_at), min(end, run.ended_at)
        if first < last:
            changes += [(first, 1), (last, -1)]
    seconds = -sum(at * change for at, change in changes)
    taken = accumulate(change for _, change in sorted(changes))
    return seconds / (end - begin), max(taken, default=0)


def shortage_of(
    name: str, given: int, free: tuple[float, int], holds: Callable[[Capacity], bool]
) -> Shortage | None:
    """Return by how much `given` slots, or places in the pool `name`, are too few; None: they do.

    `free` is what runs take of them if nothing is limited: on average, and at once. `holds` says
    whether the policies hold with a capacity.
    """
    work, most = free
    if most <= given or holds(_only(name, given)):
        return None
    too_few, enough = given, most
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if holds(_only(name, middle)):
            enough = middle
        else:
            too_few = middle
    return Shortage(given, work, enough)


def _only(name: str, limit: int) -> Capacity:
    """Return a capacity in which nothing else is limited."""
    return Capacity(slots=limit) if name == SLOTS else Capacity(pools={name: limit})
