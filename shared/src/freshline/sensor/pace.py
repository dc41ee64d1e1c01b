"""The pace of a sensor: how far apart its ticks really are.

A location asks for a tick every few seconds. Dagster's daemon comes later if it has many sensors to
look at. A plan that counted on the next tick in time would start too late again and again.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from freshline.planner import is_silent

__all__ = ["Pace"]

_REMEMBERED: Final = 10
"""So many gaps between ticks are remembered. The largest but one of them counts: one pause, in
which the laptop slept for example, says nothing."""

_MARKEDLY: Final = 1.25
"""What differs by less than this factor is the same: a change makes every location plan anew."""


class Pace:
    """Measures the seconds between the ticks of a sensor that declares to tick every `declared`."""

    def __init__(self, declared: float) -> None:
        self._declared = declared
        self._last: float | None = None
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)

    def add_tick(self, now: float) -> None:
        """Note a tick at `now`. After a silence, it says nothing about the pace."""
        if self._last is not None and not is_silent(self._last, self._declared, now):
            self._gaps.append(now - self._last)
        self._last = now

    def tick(self, published: float | None) -> float | None:
        """Return the seconds between two ticks, if there are markedly more than it declares.

        That is what the location has `published` as long as this is about right, or as there were
        not enough ticks since its process was started. None: they are as it declares.
        """
        if published is not None and published <= self._declared:
            published = None  # it declared less before it was reloaded
        if len(self._gaps) < _REMEMBERED:
            return published
        measured = round(sorted(self._gaps)[-2], 1)
        tick = measured if measured > _MARKEDLY * self._declared else self._declared
        known = published or self._declared
        if known / _MARKEDLY <= tick <= known * _MARKEDLY:
            return published
        return None if tick == self._declared else tick
