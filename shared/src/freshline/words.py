"""The wording of messages: times, durations, lists of names, and which name was meant."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from datetime import UTC, datetime
from difflib import SequenceMatcher
from functools import cached_property
from itertools import chain, islice
from math import ceil, isinf
from typing import Final
from zoneinfo import ZoneInfo

__all__ = [
    "Names",
    "at_least",
    "clock",
    "dated",
    "first_line",
    "quoted",
    "read_span",
    "same_but_for_spelling",
    "similar",
    "span",
]

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
_DAY: Final = 86_400
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}

_LONG: Final = 6
"""Names of fewer letters are different names if they differ in a letter."""

_FEW: Final = 50
"""So many names are compared one by one; of more than that, the nearest."""

_NEAREST: Final = 25
"""How many names that share the most pieces are compared."""

_VISITS: Final = 2000
"""How often a search looks at a name, at most, to see which share the most pieces."""


def clock(time: float, now: float, zone: str | None = None) -> str:
    """Return a time as people read it at the time `now`, both in epoch seconds.

    `zone` is the IANA name of the time zone to write it in; None: UTC. A time of today is
    `12:03:10 UTC`, any other one has its date: `Fri 4 Dec 12:03 UTC`, or in another year
    `Fri 4 Dec 2026 12:03 UTC`.
    """
    if isinf(time):
        return "any time" if time < 0 else "no time"
    name = zone or "UTC"
    if name == "UTC" and int(time) // _DAY == int(now) // _DAY:
        # A plan of ten thousand assets writes as many times: without dates it takes a fifth less.
        seconds = int(time) % _DAY
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02} UTC"
    tzinfo = UTC if name == "UTC" else ZoneInfo(name)
    at, today = (datetime.fromtimestamp(int(one), tzinfo) for one in (time, now))
    if at.date() == today.date():
        return f"{at:%H:%M:%S} {name}"
    year = "" if at.year == today.year else f" {at.year}"
    return f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]}{year} {at:%H:%M} {name}"


def dated(time: float) -> str:
    """Return a time (epoch seconds) for readers of any later day: `2026-12-04 12:03:10 UTC`."""
    return f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%d %H:%M:%S} UTC"


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


def at_least(seconds: float) -> str:
    """Return a duration as `span` does, but never a shorter one: a limit that can be kept."""
    unit = 1 if seconds < 3600 else 60 if seconds < 86_400 else 3600
    return span(ceil(seconds / unit) * unit)


def read_span(text: str) -> float | None:
    """Return the seconds of a duration such as `45s`, `30m`, `2h` or `3d`; None: it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    return float(match[1]) * _UNITS[match[2]] if match else None


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or else its name."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def quoted(names: Iterable[str]) -> str:
    """Return the names in backticks, as in: `a`, `b` and `c`."""
    given = list(names)
    marked = [f"`{name}`" for name in given[:_SHOWN]]
    if len(given) > _SHOWN:
        return f"{', '.join(marked)} and {len(given) - _SHOWN} more"
    return " and ".join([", ".join(marked[:-1]), marked[-1]]) if marked[1:] else "".join(marked)


class Names:
    """Names of which one may have been meant, ready for many searches.

    A search looks at the names that have a piece in common with the one that is searched, so its
    cost does not grow with the number of names as long as their pieces differ.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(set(names))

    def similar(self, name: str, besides: Container[str] = ()) -> str | None:
        """Return the name that was probably meant; None: no name is close enough.

        That is a name with nearly the same spelling, or the same table in another layer. Names in
        `besides` are only returned if they differ in spelling alone.
        """
        spelled = self.spelled_like(name)
        if spelled:
            return spelled[0]
        elsewhere = [
            other for other in self._by_table[name.rpartition("/")[2]] if other not in besides
        ]
        close = _closest(name, dict.fromkeys([*self._nearest(name, besides), *elsewhere]))
        return close or min(elsewhere, default=None)

    def spelled_like(self, name: str) -> list[str]:
        """Return the names that are the same but for spelling, sorted."""
        # A letter more, less or changed breaks three pieces at most, so one of any four is whole.
        whole = islice(self._pieces_of(name), 4) if len(name) >= _LONG else ()
        near = {number for _, numbers in whole for number in numbers}
        alike = [other for other in (self._names[number] for number in near) if _near(name, other)]
        return sorted(
            other
            for other in {*alike, *self._by_plain[_plain(name)]}
            if same_but_for_spelling(name, other)
        )

    def _nearest(self, name: str, besides: Container[str]) -> list[str]:
        """Return the names that share the most of their rarest pieces with `name`."""
        if len(self._names) <= _FEW:
            return [other for other in self._names if other not in besides]
        shared: Counter[int] = Counter()
        visits = chain.from_iterable(numbers for _, numbers in self._pieces_of(name))
        shared.update(islice(visits, _VISITS))
        ordered = (self._names[number] for number, _ in shared.most_common())
        return list(islice((other for other in ordered if other not in besides), _NEAREST))

    def _pieces_of(self, name: str) -> list[tuple[str, list[int]]]:
        """Return the pieces of `name` and the numbers of the names that have each: rarest first."""
        found = [(piece, self._by_piece.get(piece, [])) for piece in _pieces(name)]
        return sorted(found, key=lambda it: (len(it[1]), it[0]))

    @cached_property
    def _by_piece(self) -> Mapping[str, list[int]]:
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for number, name in enumerate(self._names):
            for piece in _pieces(name):
                numbers[piece].append(number)
        return numbers

    @cached_property
    def _by_plain(self) -> defaultdict[str, list[str]]:
        return _grouped(self._names, _plain)

    @cached_property
    def _by_table(self) -> defaultdict[str, list[str]]:
        return _grouped(self._names, lambda name: name.rpartition("/")[2])


def similar(name: str, names: Collection[str]) -> str | None:
    """Return the name of `names` that was probably meant, as `Names.similar` does."""
    return Names(names).similar(name)


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
        and len(one) >= _LONG
        and all(len(part) <= 1 and not part.isdigit() and part != "/" for part in edits[0])
    )


def _plain(name: str) -> str:
    parts = re.split("/", name.lower())
    return "/".join(re.sub(r"[^a-z0-9]", "", part).removesuffix("s") for part in parts)


def _closest(name: str, pool: Iterable[str]) -> str | None:
    """Return the name in `pool` with the highest ratio; None: none is close.

    That is what `difflib.get_close_matches` returns. This works out fewer ratios, each of which
    takes long: none if its upper bounds are below the best one so far.
    """
    best: tuple[float, str | None] = (_CLOSE, None)
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name)
    for other in pool:
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() >= best[0] and matcher.quick_ratio() >= best[0]:
            best = max(best, (matcher.ratio(), other), key=lambda it: (it[0], it[1] or ""))
    return best[1]


def _near(one: str, other: str) -> bool:
    """Return whether one letter more, less or changed makes one name of the other."""
    if abs(len(one) - len(other)) > 1:
        return False
    pairs = enumerate(zip(one, other, strict=False))
    first = next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
    rests = {one[first + 1 :] == other[first + 1 :], one[first + 1 :] == other[first:]}
    return True in rests or one[first:] == other[first + 1 :]


def _pieces(name: str) -> set[str]:
    """Return all runs of three letters of `name`, with two marks before and after it."""
    marked = f"\0\0{name}\0\0"
    return {marked[start : start + 3] for start in range(len(marked) - 2)}


def _grouped(names: Iterable[str], by: Callable[[str], str]) -> defaultdict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[by(name)].append(name)
    return groups
