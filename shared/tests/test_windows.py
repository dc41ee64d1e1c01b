"""The windows of partitions against those of Dagster, which are what its UI and its runs have."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from freshline.windows import Window, Windows, _Calendar
from hypothesis import assume, given, settings
from hypothesis import strategies as st

HOUR = 3600.0
DAY = 24 * HOUR
DATE = "%Y-%m-%d"
MINUTE = "%Y-%m-%d-%H:%M"


class Kind(NamedTuple):
    """Windows of some length in some zone, and a time around which something happens to them."""

    cron: str
    timezone: str
    fmt: str
    around: str
    """UTC. The clocks change then, or it is any time."""

    @property
    def time(self) -> float:
        return datetime.fromisoformat(self.around).replace(tzinfo=UTC).timestamp()

    def dagsters(self, **bounds: object) -> dg.TimeWindowPartitionsDefinition:
        """Return Dagster's definition, which begins 20 windows before the time, more or less."""
        options = {"start": self.local(self.time - 20 * self.length), "end_offset": 0, **bounds}
        return dg.TimeWindowPartitionsDefinition(
            cron_schedule=self.cron, timezone=self.timezone, fmt=self.fmt, **options
        )

    @property
    def length(self) -> float:
        return Windows(self.cron, 0.0).longest(self.time)

    def local(self, time: float) -> datetime:
        """Return a time in the zone, without saying in which."""
        return datetime.fromtimestamp(time, ZoneInfo(self.timezone)).replace(tzinfo=None)

    def times(self) -> list[float]:
        """Return times around the one where something happens: windows' ends among them."""
        step = min(self.length / 4, HOUR / 2)
        numbers = {*range(-112, 113, 7), *range(-8, 9)}
        return [self.time + number * step for number in sorted(numbers)]


SPRING, AUTUMN = "2026-03-29T01:00", "2026-10-25T01:00"
KINDS = [
    Kind("0 * * * *", "UTC", MINUTE, "2026-11-29T12:00"),
    Kind("0 * * * *", "Europe/Amsterdam", MINUTE, SPRING),
    Kind("0 * * * *", "Europe/Amsterdam", MINUTE, AUTUMN),
    Kind("30 * * * *", "America/New_York", MINUTE, "2026-11-01T06:00"),
    Kind("0 0 * * *", "UTC", DATE, "2024-02-29T00:00"),
    Kind("0 0 * * *", "Europe/Amsterdam", DATE, SPRING),
    Kind("0 0 * * *", "Europe/Amsterdam", DATE, AUTUMN),
    Kind("0 0 * * *", "Australia/Lord_Howe", DATE, "2026-04-04T15:00"),
    Kind("0 0 * * *", "America/Sao_Paulo", DATE, "2018-11-04T03:00"),
    Kind("0 0 * * *", "America/Sao_Paulo", DATE, "2019-02-17T02:00"),
    Kind("0 0 * * *", "Pacific/Apia", DATE, "2010-09-26T11:00"),
    Kind("30 2 * * *", "Europe/Amsterdam", DATE, SPRING),
    Kind("30 2 * * *", "Europe/Amsterdam", DATE, AUTUMN),
    Kind("0 0 * * 0", "Europe/Amsterdam", DATE, SPRING),
    Kind("0 7 * * 1", "America/New_York", DATE, "2026-11-01T06:00"),
    Kind("0 0 1 * *", "Europe/Amsterdam", "%Y-%m", "2026-03-31T22:00"),
    Kind("0 0 1 * *", "Australia/Lord_Howe", "%Y-%m", "2026-04-04T15:00"),
    Kind("*/15 * * * *", "Europe/Amsterdam", MINUTE, SPRING),
    Kind("0 */6 * * *", "Europe/Amsterdam", MINUTE, AUTUMN),
    Kind("0 9 * * 1-5", "Europe/Amsterdam", DATE, SPRING),
    Kind("0 0 1 1,4,7,10 *", "Europe/Amsterdam", "%Y-%m", "2026-03-31T22:00"),
    Kind("15 3 1,15 * *", "America/New_York", DATE, "2026-03-08T07:00"),
]
"""Without hourly windows where clocks change by half an hour: those that Dagster has depend on the
time from which on it counts them."""
all_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(kind))


def ours(definition: dg.TimeWindowPartitionsDefinition) -> Windows:
    """Return freshline's windows for a definition of Dagster's."""
    return Windows(
        cron=definition.cron_schedule,
        start=definition.start.timestamp(),
        fmt=definition.fmt,
        timezone=definition.timezone,
        end=definition.end.timestamp() if definition.end else None,
        end_offset=definition.end_offset,
    )


def dagsters_keys(definition: dg.TimeWindowPartitionsDefinition, now: float) -> list[str]:
    """Return the keys that exist for Dagster at `now`, without those that begin later."""
    return [
        key
        for key in definition.get_partition_keys(current_time=datetime.fromtimestamp(now, UTC))
        if definition.time_window_for_partition_key(key).start.timestamp() <= now
    ]


def keys_of(windows: Windows, now: float, after: float = 0.0) -> list[str]:
    return [windows.key(window) for window in windows.existing(after, now)]


class TestAgainstDagster:
    @all_kinds
    @pytest.mark.parametrize("end_offset", [-2, -1, 0, 1, 2])
    def test_the_same_partitions_exist_at_each_time(self, kind: Kind, end_offset: int) -> None:
        definition = kind.dagsters(end_offset=end_offset)
        windows = ours(definition)

        for time in kind.times():
            assert dagsters_keys(definition, time) == keys_of(windows, time), time

    @all_kinds
    @pytest.mark.parametrize("end_offset", [-1, 0, 1])
    @pytest.mark.parametrize("beyond", [0.0, 0.4])
    def test_the_same_partitions_exist_when_there_is_an_end(
        self, kind: Kind, end_offset: int, beyond: float
    ) -> None:
        end = kind.local(kind.time + beyond * kind.length)
        definition = kind.dagsters(end=end, end_offset=end_offset)
        windows = ours(definition)

        for time in kind.times():
            assert dagsters_keys(definition, time) == keys_of(windows, time), time

    @all_kinds
    def test_a_key_has_the_same_window(self, kind: Kind) -> None:
        definition = kind.dagsters()
        windows = ours(definition)
        keys = definition.get_partition_keys(
            current_time=datetime.fromtimestamp(kind.time + 30 * kind.length, UTC)
        )
        theirs = [definition.time_window_for_partition_key(key) for key in keys]

        assert len(keys) > 40
        assert [Window(window.start.timestamp(), window.end.timestamp()) for window in theirs] == [
            windows.window(key) for key in keys
        ]

    @all_kinds
    def test_windows_follow_each_other_without_a_gap_in_whatever_order_they_are_asked_for(
        self, kind: Kind
    ) -> None:
        forward = _Calendar(kind.cron, kind.timezone, kind.fmt)
        backward = _Calendar(kind.cron, kind.timezone, kind.fmt)
        first = forward.index_at(kind.times()[0])
        expected = forward.between(first, forward.index_at(kind.times()[-1]))
        for time in reversed(kind.times()):
            backward.index_at(time)
        again = backward.index_at(kind.times()[0])

        assert expected == backward.between(again, again + len(expected) - 1)
        assert [it.end for it in expected[:-1]] == [it.start for it in expected[1:]]

    @pytest.mark.parametrize("end_offset", [-1, 0, 1])
    def test_a_day_that_a_zone_has_left_out_has_no_window(self, end_offset: int) -> None:
        # On Samoa, Thursday was followed by Saturday. Dagster has a partition of no rows there.
        windows = Windows(
            "0 0 * * *",
            datetime(2011, 12, 28, 10, tzinfo=UTC).timestamp(),
            timezone="Pacific/Apia",
            end_offset=end_offset,
        )
        last = datetime(2012, 1, 1, 10, tzinfo=UTC).timestamp() - end_offset * DAY

        assert ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"] == keys_of(windows, last)
        assert windows.window("2011-12-30") is None

    @pytest.mark.parametrize(
        ("cron", "fmt", "key"),
        [
            ("0 0 * * 0", DATE, "2026-11-25"),  # a Wednesday; windows begin on Sundays
            ("0 0 * * *", DATE, "nl"),
            ("0 0 * * *", DATE, "2026-11-25|nl"),
            ("0 0 * * *", DATE, "9999-12-31"),
            ("0 * * * *", MINUTE, "2026-11-25-09:30"),
        ],
    )
    def test_what_is_no_key_has_no_window(self, cron: str, fmt: str, key: str) -> None:
        assert Windows(cron, 0.0, fmt).window(key) is None


class TestExisting:
    windows = Windows("0 0 * * *", 10 * DAY)

    def test_only_those_that_end_later_are_returned(self) -> None:
        assert ["1970-01-14", "1970-01-15"] == keys_of(self.windows, 15 * DAY, after=13 * DAY)
        assert ["1970-01-13", "1970-01-14", "1970-01-15"] == keys_of(
            self.windows, 15 * DAY, after=13 * DAY - 1
        )

    def test_there_is_none_before_the_first_has_closed(self) -> None:
        assert [] == self.windows.existing(0.0, 11 * DAY - 1)
        assert [Window(10 * DAY, 11 * DAY)] == self.windows.existing(0.0, 11 * DAY)

    def test_a_start_between_two_windows_leaves_the_begun_one_out(self) -> None:
        windows = Windows("0 0 * * *", 10.5 * DAY)

        assert [Window(11 * DAY, 12 * DAY)] == windows.existing(10.6 * DAY, 12.5 * DAY)

    def test_threads_that_ask_at_once_get_the_same(self) -> None:
        calendar = _Calendar("7 * * * *", "Europe/Amsterdam", MINUTE)
        times = [number * 37 % 400 * DAY for number in range(400)]

        def find(time: float) -> bool:
            window = calendar.window(calendar.index_at(time))
            return window.start <= time < window.end

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(find, times))

        assert all(found)


class TestShifted:
    windows = Windows("0 0 1 * *", 0.0, "%Y-%m")
    march = Window(59 * DAY, 90 * DAY)

    def test_a_window_moves_by_windows_whatever_their_length(self) -> None:
        assert Window(31 * DAY, 59 * DAY) == self.windows.shifted(self.march, -1, -1)
        assert Window(0.0, 90 * DAY) == self.windows.shifted(self.march, -2, 0)
        assert self.march == self.windows.shifted(self.march, 0, 0)

    def test_the_data_of_a_shifted_partition_are_those_of_an_earlier_window(self) -> None:
        shifted = Windows("0 0 1 * *", 0.0, "%Y-%m", shift=-1)

        assert Window(31 * DAY, 59 * DAY) == shifted.data_of(self.march)
        assert self.march == self.windows.data_of(self.march)

    def test_a_day_moves_by_days_when_the_clocks_change(self) -> None:
        windows = Windows("0 0 * * *", 0.0, timezone="Europe/Amsterdam")
        sunday = windows.window("2026-03-29")
        assert sunday is not None

        assert 23 * HOUR == sunday.end - sunday.start
        assert "2026-03-28" == windows.key(windows.shifted(sunday, -1, -1))
        assert "2026-03-30" == windows.key(windows.shifted(sunday, 1, 1))


# --- laws -----------------------------------------------------------------------------------

LENGTHS = ["0 * * * *", "0 0 * * *", "30 2 * * *", "0 0 * * 0", "0 */6 * * *", "0 0 1 * *"]
ZONES = ["UTC", "Europe/Amsterdam", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]
BEGIN = datetime(2011, 12, 1, tzinfo=UTC).timestamp()

times = st.floats(BEGIN - 40 * DAY, BEGIN + 80 * DAY).map(round).map(float)


def law(*given_values: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Let a test hold for all values, however long Dagster takes to tell the first windows."""
    return lambda test: settings(deadline=None)(given(*given_values)(test))


@st.composite
def any_windows(
    draw: st.DrawFn,
    offsets: tuple[int, ...] = (-2, -1, 0, 1, 2),
    shifts: tuple[int, ...] = (0, -1, -3),
) -> Windows:
    end = draw(st.none() | st.floats(-5 * DAY, 70 * DAY).map(round))
    return Windows(
        cron=draw(st.sampled_from(LENGTHS)),
        start=BEGIN + draw(st.sampled_from([0.0, 5 * HOUR, 20 * DAY])),
        fmt=MINUTE,
        timezone=draw(st.sampled_from(ZONES)),
        end=None if end is None else BEGIN + end,
        end_offset=draw(st.sampled_from(offsets)),
        shift=draw(st.sampled_from(shifts)),
    )


def data_time(windows: Windows, inputs: float, now: float) -> float:
    """Return the data time of an asset, one partition after the other, as it is defined.

    Each partition that exists at `now` was made from inputs of the data time `inputs`.
    """
    reached = min(windows.data_of(windows.first).start, inputs)
    for window in windows.existing(0.0, now):
        data = windows.data_of(window)
        reached = data.end
        if inputs < data.end:
            return max(data.start, inputs) if data.start <= inputs else data.start
    return reached


class TestReach:
    @law(any_windows(), times)
    def test_it_is_never_later_than_the_data(self, windows: Windows, time: float) -> None:
        assert windows.reach(time) <= time

    @law(any_windows(), times, times)
    def test_later_data_never_reach_less_far(
        self, windows: Windows, one: float, other: float
    ) -> None:
        assert windows.reach(min(one, other)) <= windows.reach(max(one, other))

    @law(any_windows(), times)
    def test_what_is_made_from_all_that_was_reached_reaches_as_far(
        self, windows: Windows, time: float
    ) -> None:
        assert windows.reach(time) == windows.reach(windows.reach(time), now=time)

    @law(any_windows(), times, times)
    def test_data_that_come_later_reach_no_partition_that_does_not_exist(
        self, windows: Windows, one: float, other: float
    ) -> None:
        data, now = min(one, other), max(one, other)

        assert windows.reach(data) <= windows.reach(data, now) <= windows.reach(now)

    @law(any_windows(), times)
    def test_it_is_the_data_time_of_an_asset_of_which_all_that_exists_was_made(
        self, windows: Windows, time: float
    ) -> None:
        assert data_time(windows, time, time) == windows.reach(time)

    @law(any_windows(offsets=(0, -1)), times)
    def test_it_is_where_a_window_begins_when_they_are_made_closed(
        self, windows: Windows, time: float
    ) -> None:
        reached = windows.reach(time)
        assume(reached >= windows.data_of(windows.first).start)

        made = [windows.first, *windows.existing(0.0, time)]
        ends = {windows.data_of(made[0]).start, *(windows.data_of(it).end for it in made[1:])}

        assert reached in ends

    @law(any_windows(offsets=(1, 2), shifts=(0,)), times)
    def test_it_is_the_time_of_the_data_when_the_open_window_can_be_made(
        self, windows: Windows, time: float
    ) -> None:
        assume(windows.end is None)

        assert time == windows.reach(time)


class TestNextReach:
    @law(any_windows(offsets=(-2, -1, 0)), times)
    def test_it_is_in_the_future_when_all_closed_windows_were_made(
        self, windows: Windows, time: float
    ) -> None:
        assert time < windows.next_reach(windows.reach(time))

    @law(any_windows(), times)
    def test_nothing_reaches_further_before_it(self, windows: Windows, time: float) -> None:
        reached = windows.reach(time)
        later = windows.next_reach(reached)
        assume(time < later < inf)
        assume(reached >= windows.data_of(windows.first).start)

        assert reached == windows.reach(later - 1)

    @law(any_windows(), times)
    def test_something_reaches_further_from_then_on(self, windows: Windows, time: float) -> None:
        reached = windows.reach(time)
        later = windows.next_reach(reached)
        assume(later < inf)

        assert reached < windows.reach(max(later, reached + 1))

    @law(any_windows(), times)
    def test_there_is_none_if_and_only_if_the_last_window_was_reached(
        self, windows: Windows, time: float
    ) -> None:
        every = windows.existing(0.0, BEGIN + 400 * DAY)
        final = inf
        if windows.end is not None:
            final = windows.data_of(every[-1]).end if every else -inf

        assert (windows.reach(time) >= final) == (windows.next_reach(windows.reach(time)) == inf)


@law(any_windows(), times)
def test_a_windows_key_names_that_window(windows: Windows, time: float) -> None:
    # On the day that Samoa left out, Dagster gives the key of one window to another.
    assume(windows.timezone != "Pacific/Apia" or windows.cron != "30 2 * * *")
    for window in windows.existing(time - 2 * DAY, time):
        key = windows.key(window)

        assert window == windows.window(key)
        assert key == windows.key(window)
