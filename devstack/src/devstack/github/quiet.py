"""Quiet hours: the hours of each day in which the seeded stream has no new stars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from devstack.errors import DevstackError

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_DAY = 24 * 60
"""Minutes."""


@dataclass(frozen=True)
class QuietHours:
    """From `begin` until just before `end`, in minutes after midnight, UTC.

    If `begin` is later than `end`, they last over midnight.
    """

    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the hours that a text such as `22:00-06:00` names; `00:00-24:00` is all day.

        Raises `DevstackError` if it names none.
        """
        found = _HOURS.fullmatch(text)
        if found is not None:
            hours = [int(part) for part in found.groups()]
            begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
            if max(hours[1], hours[3]) < 60 and begin < _DAY and end <= _DAY and begin != end:
                return cls(begin, end)
        raise DevstackError(
            f"DEVSTACK_QUIET (or --quiet) is {text!r}; it must be the hours without new stars, in "
            "UTC, such as 22:00-06:00. 00:00-24:00 is all day."
        )

    def include(self, time: float) -> bool:
        """Return whether `time` (seconds since 1970, UTC) is in the quiet hours."""
        minute = time / 60 % _DAY
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end
