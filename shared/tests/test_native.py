"""Dagster's own freshness policies, judged by Dagster's own evaluators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import count

import dagster as dg
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy, FreshnessState
from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time
from freshline.native import native_policy
from freshline.planner import next_tick
from freshline.planner.deadlines import deadline
from freshline.policy import MaxLag
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

WEEKDAYS = "0 9 * * 1-5"
AMSTERDAM = "Europe/Amsterdam"
YEAR = 366 * 86_400
NUMBERS = count()


def seconds_of(policy: dg.FreshnessPolicy | None) -> float | None:
    if policy is None:
        return None
    window = (
        policy.lower_bound_delta
        if isinstance(policy, CronFreshnessPolicy)
        else policy.fail_window.to_timedelta()  # type: ignore[attr-defined]  # the only other one
    )
    return float(window.total_seconds())


def verdict(
    instance: dg.DagsterInstance, policy: MaxLag, made_at: float, now: float
) -> FreshnessState:
    """Return what Dagster says at `now` of an asset with `policy` that was made at `made_at`."""
    native = native_policy(policy)
    assert native is not None
    # A key of its own, because the instance keeps what was made before.
    target = dg.AssetSpec(f"target_{next(NUMBERS)}", freshness_policy=native)
    node = dg.Definitions(assets=[target]).resolve_asset_graph().get(target.key)
    evaluator = FRESHNESS_EVALUATORS_BY_POLICY_TYPE[type(native)]()
    with freeze_time(made_at):
        instance.report_runless_asset_event(dg.AssetMaterialization(target.key))
    with freeze_time(now):
        return asyncio.run(evaluator.evaluate_freshness(LoadingContextForTest(instance), node))


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        (MaxLag(1), 60),
        (MaxLag(0.99), None),
        (MaxLag(5_260_000), 315_600_000),
        (MaxLag(60, WEEKDAYS, AMSTERDAM), 3_600),
        (MaxLag(0.5, WEEKDAYS), None),
        # From one nine o'clock to the next it is a day; an older version may be kept at a tick.
        (MaxLag(24 * 60, WEEKDAYS), 86_400),
        (MaxLag(24 * 60 + 1, WEEKDAYS), None),
        (MaxLag(60, "0 * * * *"), 3_600),
        # There is no half past two in the night in which the clocks go forward.
        (MaxLag(60, "30 2 * * *", AMSTERDAM), None),
        (MaxLag(60, "30 2 * * *", "Asia/Tokyo"), 3_600),
        (MaxLag(60, "30 2 * * 1-5", AMSTERDAM), 3_600),  # on a Sunday
    ],
)
def test_a_policy_is_attached_if_dagster_can_say_it(policy: MaxLag, seconds: float | None) -> None:
    assert seconds == seconds_of(native_policy(policy))


class TestDagstersVerdict:
    NINE = datetime(2026, 3, 4, 8, tzinfo=UTC).timestamp()
    """On a Wednesday, in Amsterdam."""

    @pytest.mark.parametrize(
        ("made_at", "now", "expected"),
        [
            (NINE - 1_800, NINE + 8 * 3_600, FreshnessState.PASS),
            (NINE - 5_400, NINE - 60, FreshnessState.PASS),
            (NINE - 5_400, NINE + 60, FreshnessState.FAIL),
        ],
    )
    def test_a_cron_is_judged_at_its_ticks(
        self,
        memory: dg.DagsterInstance,
        made_at: float,
        now: float,
        expected: FreshnessState,
    ) -> None:
        assert expected == verdict(memory, MaxLag(60, WEEKDAYS, AMSTERDAM), made_at, now)


CRONS = st.sampled_from(
    [
        *(None, "* * * * *", "*/5 * * * *", "*/7 * * * *", "0 * * * *", "30 */6 * * *"),
        *("30 0 * * *", "30 2 * * *", "0 0 * * *", "0 9 * * 1-5", "0 9-17 * * 1-5"),
        *("0 4 1,15 * *", "0 4 L * *", "0 4 * * 1#1", "0 9 1 * 1", "@daily", "0 0 1 1 *"),
    ]
)
ZONES = st.sampled_from(
    [
        *("UTC", AMSTERDAM, "America/New_York", "Asia/Kolkata", "Asia/Kathmandu"),
        *("Australia/Lord_Howe", "America/St_Johns", "Asia/Beirut"),
    ]
)
CLOCK_CHANGES = st.builds(
    lambda day, second: day * 86_400 + second,
    st.sampled_from([66, 86, 93, 276, 297, 304]),  # in New York, Europe, Lord Howe
    st.integers(-86_400, 86_400),
)


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    minutes=st.one_of(st.integers(1, 120), st.integers(1, 20_000)),
    cron=CRONS,
    zone=ZONES,
    base=st.one_of(st.integers(0, YEAR), CLOCK_CHANGES),
    since_limit=st.one_of(st.integers(-60, 60), st.integers(-90_000, 90_000)),
    delay=st.integers(0, 90_000),
    age=st.integers(0, 5 * 86_400),
)
# The night in which the clocks go from 00:00 to 01:00.
@example(
    minutes=60,
    cron="30 0 * * *",
    zone="Asia/Beirut",
    base=86 * 86_400 + 21 * 3_600,
    since_limit=0,
    delay=0,
    age=6_000,
)
def test_dagster_passes_whatever_is_in_time(
    memory: dg.DagsterInstance,
    minutes: int,
    cron: str | None,
    zone: str,
    base: int,
    since_limit: int,
    delay: int,
    age: int,
) -> None:
    """Try versions whose data is about as old as the policy allows at some tick."""
    policy = MaxLag(minutes, cron, zone if cron else None)
    assume(native_policy(policy) is not None)
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + base
    tick = start if cron is None else next_tick(cron, zone, start)
    data_time = tick - minutes * 60 + since_limit
    made_at = data_time + delay
    now = made_at + age
    assume(now < deadline(policy, data_time))

    assert FreshnessState.PASS == verdict(memory, policy, made_at, now)
