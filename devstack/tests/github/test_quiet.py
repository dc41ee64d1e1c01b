"""Quiet hours: what they are called, and which times are in them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from devstack.errors import DevstackError
from devstack.github.quiet import QuietHours


def at(hours: int, minutes: int = 0, seconds: int = 0) -> float:
    return datetime(2026, 3, 15, hours, minutes, seconds, tzinfo=UTC).timestamp()


class TestInclude:
    def test_they_end_just_before_their_end(self) -> None:
        quiet = QuietHours.parse("01:30-02:00")
        times = [at(1, 29, 59), at(1, 30), at(1, 59, 59), at(2), at(13, 30)]

        assert [quiet.include(time) for time in times] == [False, True, True, False, False]

    def test_they_may_last_over_midnight(self) -> None:
        quiet = QuietHours.parse("22:00-06:00")
        times = [at(21, 59, 59), at(22), at(0), at(5, 59, 59), at(6), at(12)]

        assert [quiet.include(time) for time in times] == [False, True, True, True, False, False]

    def test_they_may_end_at_midnight(self) -> None:
        assert QuietHours.parse("22:00-24:00") == QuietHours(22 * 60, 24 * 60)
        assert QuietHours.parse("22:00-24:00").include(at(23, 59, 59))
        assert not QuietHours.parse("22:00-00:00").include(at(0))

    def test_all_day_has_every_time(self) -> None:
        quiet = QuietHours.parse("00:00-24:00")

        assert all(quiet.include(at(hour, minute)) for hour in range(24) for minute in (0, 59))


class TestParse:
    @pytest.mark.parametrize(
        "text",
        [
            *("", "night", "22:00", "22-06", "22:00 - 06:00", "22:00-06:00Z", "2:00-6:00"),
            *("24:00-06:00", "22:00-24:01", "22:60-06:00", "22:00-06:60", "22:00-22:00"),
            *("22:00-25:00", "-1:00-06:00", "22:00-06:00\n", "٢٢:00-06:00"),
        ],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(DevstackError, match=r"it must be the hours without new stars, in UTC"):
            QuietHours.parse(text)
