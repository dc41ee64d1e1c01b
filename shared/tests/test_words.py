"""The wording of messages."""

from __future__ import annotations

from math import inf

import pytest
from freshline.words import clock, quoted, same_but_for_spelling, similar, span


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (-61, "-1 min 1 s"),
        (20.4, "20 s"),
        (120, "2 min"),
        (190, "3 min 10 s"),
        (3600, "1 h"),
        (7530, "2 h 5 min"),
    ],
)
def test_span_writes_a_duration(seconds: float, expected: str) -> None:
    assert expected == span(seconds)


@pytest.mark.parametrize(
    ("time", "expected"),
    [(0, "00:00:00"), (86_400 + 43_390, "12:03:10"), (-inf, "any time"), (inf, "no time")],
)
def test_clock_writes_a_time_of_day(time: float, expected: str) -> None:
    assert expected == clock(time)


def test_quoted_shortens_long_lists() -> None:
    assert "`a`" == quoted(["a"])
    assert "`a` and `b`" == quoted(["a", "b"])
    assert "`a`, `b` and `c`" == quoted("abc")
    assert "`a`, `b`, `c`, `d`, `e` and 2 more" == quoted("abcdefg")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("mart/mart_gh_stargazer", "mart/mart_gh_stargazers", True),
        ("raw/Order-Items", "raw/order_items", True),
        ("raw/orders_2023", "raw/orders_2024", False),
        ("raw/orders", "stage/orders", False),
        ("raw/ab", "raw/ac", True),
        ("a/b", "a/c", False),
        ("raw/orders", "raw/orders", False),
    ],
)
def test_only_differences_of_spelling_are_the_same_name(
    one: str, other: str, expected: bool
) -> None:
    assert expected is same_but_for_spelling(one, other)


def test_no_name_is_suggested_when_none_is_close() -> None:
    assert similar("crm/people", ["mart/stars", "raw/stars"]) is None
