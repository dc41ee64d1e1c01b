"""From when on partitions count: `freshline.contract.promises`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from freshline.contract import Contract
from freshline.contract.promises import with_promises
from freshline.model import Asset, Reads
from freshline.policy import MaxLag
from freshline.windows import Windows

HOUR, DAY = 3600.0, 86_400.0
DAILY = Windows("0 0 * * *", 0.0)
HOURLY = Windows("0 * * * *", 0.0, "%Y-%m-%d-%H:%M")
SAME = Reads(windows=(0, 0))
TODAY = datetime(2026, 3, 10, tzinfo=UTC).timestamp()
NOW = TODAY + 12 * HOUR
POLICY = MaxLag(60)


def orders(windows: Windows = DAILY, since: float | None = None) -> Asset:
    return Asset("orders", "shop", windows=windows, promised_from=since)


def mart(
    windows: Windows | None = DAILY,
    since: float | None = None,
    reads: Reads = SAME,
    policy: MaxLag | None = POLICY,
) -> Asset:
    read = {"orders": reads} if windows else {}
    return Asset(
        "mart", "marts", ("orders",), policy, windows=windows, reads=read, promised_from=since
    )


def promised(*assets: Asset, target: str = "mart") -> dict[str, float | None]:
    contract = Contract(location="marts", promised={target: NOW})
    found = with_promises({asset.key: asset for asset in assets}, [contract])
    return {key: asset.promised_from for key, asset in found.items()}


def test_they_count_from_two_windows_and_the_maximum_lag_before_the_policy() -> None:
    begin = NOW - HOUR - 2 * DAY

    assert {"orders": begin, "mart": None} == promised(orders(), mart(windows=None))


def test_what_the_asset_says_counts_instead() -> None:
    since = TODAY - 40 * DAY

    assert {"orders": since, "mart": None} == promised(orders(since=since), mart(windows=None))


def test_what_a_partition_reads_counts_from_the_same_day() -> None:
    since = TODAY - 7 * DAY
    found = promised(orders(), mart(since=since))

    assert {"orders": since, "mart": since} == found


@pytest.mark.parametrize("said", [None, TODAY - 3 * DAY])
def test_a_partition_that_reads_the_week_before_it_needs_that_week(said: float | None) -> None:
    since = TODAY - 7 * DAY
    found = promised(orders(since=said), mart(since=since, reads=Reads(windows=(-6, 0))))

    assert {"orders": since - 6 * DAY, "mart": since} == found


def test_the_hours_of_a_day_that_counts_all_count() -> None:
    found = promised(orders(HOURLY), mart())

    assert found["mart"] == NOW - HOUR - 2 * DAY
    assert found["orders"] is not None
    assert found["orders"] <= TODAY - 2 * DAY


def test_a_day_does_not_count_by_itself_if_what_it_reads_does_not() -> None:
    since = TODAY - DAY

    assert {"orders": since, "mart": since} == promised(orders(since=since), mart())


def test_without_a_policy_nothing_is_promised() -> None:
    assert {"orders": None} == promised(orders())
    assert {"orders": None, "mart": None} == promised(orders(), mart(policy=None), target="other")


def test_assets_that_read_each_other_are_no_trouble() -> None:
    one = Asset("one", "shop", ("mart",), windows=DAILY, reads={"mart": SAME})
    two = Asset("mart", "marts", ("one",), POLICY, windows=DAILY, reads={"one": SAME})

    assert {"one", "mart"} == promised(one, two).keys()
