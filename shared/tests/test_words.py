"""The wording of messages."""

from __future__ import annotations

from difflib import SequenceMatcher, get_close_matches
from math import inf
from random import Random

import pytest
from freshline.words import (
    Names,
    at_least,
    clock,
    dated,
    quoted,
    same_but_for_spelling,
    similar,
    span,
)
from hypothesis import given
from hypothesis import strategies as some


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
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (-777_600, "-9 d"),
    ],
)
def test_span_writes_a_duration(seconds: float, expected: str) -> None:
    assert expected == span(seconds)


NOON = 1_700_049_600.0  # Wednesday 15 November 2023, 12:00:00 UTC
HOUR, DAY = 3_600, 86_400


@pytest.mark.parametrize(
    ("time", "zone", "expected"),
    [
        (NOON + 190, None, "12:03:10 UTC"),
        (NOON + 190.9, "UTC", "12:03:10 UTC"),
        (NOON - 2 * HOUR, "Europe/Amsterdam", "11:00:00 Europe/Amsterdam"),
        (NOON + 12 * HOUR, None, "Thu 16 Nov 00:00 UTC"),
        # It is already the 16th there, and still the 15th.
        (NOON + 12 * HOUR, "Europe/Amsterdam", "Thu 16 Nov 01:00 Europe/Amsterdam"),
        (NOON + 12 * HOUR, "America/Los_Angeles", "16:00:00 America/Los_Angeles"),
        (NOON - 9 * DAY, None, "Mon 6 Nov 12:00 UTC"),
        (NOON + 365 * DAY, None, "Thu 14 Nov 2024 12:00 UTC"),
        (-inf, None, "any time"),
        (inf, "Europe/Amsterdam", "no time"),
    ],
)
def test_clock_writes_a_time_and_its_date_if_it_is_not_today(
    time: float, zone: str | None, expected: str
) -> None:
    assert expected == clock(time, NOON, zone)


def test_dated_writes_a_time_with_its_date() -> None:
    assert "2023-11-15 12:00:07 UTC" == dated(NOON + 7.9)


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


PARTS = ["raw", "stage", "mart", "order", "orders", "item", "users", "github", "stars", "dim", "id"]
KEYS = some.builds(
    lambda layer, parts, end: f"{layer}/{'_'.join(parts)}{end}",
    some.sampled_from(["raw", "mart", "warehouse/raw"]),
    some.lists(some.sampled_from(PARTS), min_size=1, max_size=3),
    some.sampled_from(["", "s", "-", "S", "x", "_2023", "_2024"]),
)


@given(KEYS, some.sets(KEYS, max_size=40))
def test_of_few_names_the_closest_is_suggested(name: str, names: set[str]) -> None:
    spelled = sorted(other for other in names if same_but_for_spelling(name, other))
    close = get_close_matches(name, sorted(names), n=1, cutoff=0.65)
    table = name.rpartition("/")[2]
    elsewhere = sorted(other for other in names if other.rpartition("/")[2] == table)

    assert next(iter([*spelled, *close, *elsewhere]), None) == similar(name, names)


def many_names(random: Random) -> list[str]:
    def word() -> str:
        return "".join(random.choice("abcdefgiklmnoprstu") for _ in range(random.randint(3, 7)))

    words = [word() for _ in range(200)]
    return [
        f"{random.choice(['raw', 'stage', 'mart'])}/{'_'.join(random.sample(words, 3))}"
        for _ in range(3000)
    ]


def test_of_many_names_one_that_differs_in_spelling_is_always_found() -> None:
    random = Random(1)
    known = many_names(random)
    names = Names(known)
    for meant in random.sample(known, 20):
        place = random.randrange(len(meant))
        written = meant[:place] + random.choice(["", "x", "_"]) + meant[place + 1 :]
        alike = sorted(other for other in set(known) if same_but_for_spelling(written, other))

        assert alike == names.spelled_like(written)
        if alike:
            assert alike[0] == names.similar(written)


def test_of_many_names_one_nearly_as_close_as_any_is_suggested() -> None:
    random = Random(7)
    known = many_names(random)
    names = Names(known)
    for meant in random.sample(known, 20):
        layer, _, table = meant.partition("/")
        written = f"old_{layer}/{table.replace('_', '', 1)}_all"
        closest = get_close_matches(written, sorted(known), n=1)[0]
        suggested = names.similar(written)

        assert suggested is not None
        ratio, best = (
            SequenceMatcher(None, other, written).ratio() for other in (suggested, closest)
        )
        assert ratio >= best - 0.05


def test_names_besides_are_suggested_only_for_a_spelling() -> None:
    names = Names(["mart/starred", "mart/joins"])

    assert names.similar("mart/stars") == "mart/starred"
    assert names.similar("mart/stars", besides={"mart/starred"}) is None
    assert names.similar("mart/join", besides={"mart/joins"}) == "mart/joins"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(86_400, "1 d"), (86_504, "1 d 1 h"), (3601, "1 h 1 min"), (59.2, "1 min"), (20, "20 s")],
)
def test_a_limit_that_can_be_kept_is_never_said_to_be_shorter(seconds: float, text: str) -> None:
    assert text == at_least(seconds)
