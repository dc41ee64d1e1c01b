"""The wording of messages: times, durations, lists of names, and which name was meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from difflib import SequenceMatcher, get_close_matches
from math import isinf
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["clock", "quoted", "same_but_for_spelling", "similar", "span"]

_SHOWN: Final = 5
"""At most this many names of a list are written; the others are counted."""

_CLOSE: Final = 0.65
"""The lowest similarity (`difflib`'s ratio) at which a name is suggested."""

# Not from `strftime`, which writes them in the language of the host.
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def clock(time: float, now: float, zone: str | None = None) -> str:
    """Return a time as people read it at the time `now`, both in epoch seconds.

    `zone` is the IANA name of the time zone to write it in; None: UTC. A time of today is
    `12:03:10 UTC`, any other one has its date: `Fri 4 Dec 12:03 UTC`, or in another year
    `Fri 4 Dec 2026 12:03 UTC`.
    """
    if isinf(time):
        return "any time" if time < 0 else "no time"
    name = zone or "UTC"
    tzinfo = UTC if name == "UTC" else ZoneInfo(name)
    at, today = (datetime.fromtimestamp(int(one), tzinfo) for one in (time, now))
    if at.date() == today.date():
        return f"{at:%H:%M:%S} {name}"
    year = "" if at.year == today.year else f" {at.year}"
    return f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]}{year} {at:%H:%M} {name}"


def span(seconds: float) -> str:
    """Return a duration in seconds as people read it: `42 s`, `3 min 10 s`, `2 h 5 min`, `9 d`."""
    sign = "-" if seconds < -0.5 else ""
    whole = round(abs(seconds))
    if whole < 60:
        return f"{sign}{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{sign}{minutes} min {rest} s" if rest else f"{sign}{minutes} min"
    if whole < 86_400:
        hours, rest = divmod(whole // 60, 60)
        return f"{sign}{hours} h {rest} min" if rest else f"{sign}{hours} h"
    days, rest = divmod(whole // 3600, 24)
    return f"{sign}{days} d {rest} h" if rest else f"{sign}{days} d"


def quoted(names: Iterable[str]) -> str:
    """Return the names in backticks, as in: `a`, `b` and `c`."""
    given = list(names)
    marked = [f"`{name}`" for name in given[:_SHOWN]]
    if len(given) > _SHOWN:
        return f"{', '.join(marked)} and {len(given) - _SHOWN} more"
    return " and ".join([", ".join(marked[:-1]), marked[-1]]) if marked[1:] else "".join(marked)


def similar(name: str, names: Collection[str]) -> str | None:
    """Return the name that was probably meant; None: no name is close enough.

    That is a name with nearly the same spelling, or the same table in another layer.
    """
    spelled = [other for other in names if same_but_for_spelling(name, other)]
    if spelled:
        return min(spelled)
    close = get_close_matches(name, sorted(names), n=1, cutoff=_CLOSE)
    if close:
        return close[0]
    table = name.rpartition("/")[2]
    elsewhere = [other for other in names if other.rpartition("/")[2] == table]
    return min(elsewhere) if elsewhere else None


def same_but_for_spelling(one: str, other: str) -> bool:
    """Return whether two names differ, but only in case, separators, plurals or one letter."""
    if one == other:
        return False
    if _plain(one) == _plain(other):
        return True
    edits = [
        (one[a:b], other[c:d])
        for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
        if kind != "equal"
    ]
    # One letter may be added, missing or changed, but no digit: orders_2023 is not orders_2024.
    return (
        len(edits) == 1
        and len(one) >= 6
        and all(len(part) <= 1 and not part.isdigit() and part != "/" for part in edits[0])
    )


def _plain(name: str) -> str:
    parts = re.split("/", name.lower())
    return "/".join(re.sub(r"[^a-z0-9]", "", part).removesuffix("s") for part in parts)
