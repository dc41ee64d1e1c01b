"""Times and durations as people read them."""

from __future__ import annotations

from math import isinf

__all__ = ["clock", "span"]


def clock(time: float) -> str:
    """`12:03:10` (UTC) for epoch seconds."""
    if isinf(time):
        return "any time" if time < 0 else "no time"
    seconds = int(time) % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def span(seconds: float) -> str:
    """`42 s`, `3 min 10 s`, `2 h 5 min`."""
    sign = "-" if seconds < -0.5 else ""
    whole = round(abs(seconds))
    if whole < 60:
        return f"{sign}{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{sign}{minutes} min {rest} s" if rest else f"{sign}{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{sign}{hours} h {rest} min" if rest else f"{sign}{hours} h"
