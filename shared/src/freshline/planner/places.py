"""Since when there was a place for a run, among so many that others take and leave.

Shared by `history` and `simulate`, as `moments` is: a wait for a place is no duration of an asset.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

__all__ = ["free_since"]


def free_since(stays: Iterable[tuple[float, float]], places: int | None, until: float) -> float:
    """Return from when to `until` one of `places` was free without a break.

    `stays` are the times at which others took a place and left it; infinite: not yet. -inf: one
    was free at all times, as is always so if `places` is None. `until`: none was.
    """
    if places is None:
        return -inf
    begun = [stay for stay in stays if stay[0] < until]
    taken = sum(end >= until for _, end in begun)
    if taken >= places:
        return until
    # Back in time. Who comes when somebody leaves has taken the place that was left.
    changes = [(-begin, -1) for begin, _ in begun]
    changes += [(-end, 1) for _, end in begun if end < until]
    for before, change in sorted(changes):
        taken += change
        if taken >= places:
            return -before
    return -inf
