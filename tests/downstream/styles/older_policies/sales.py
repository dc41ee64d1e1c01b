"""Under freshline, with policies as Dagster had them and as it has them."""

import warnings
from datetime import timedelta

import dagster as dg
from freshline import max_lag, with_freshline
from interface import ORDERS, RATES

warnings.simplefilter("ignore")  # Dagster warns of the older kind
HOURLY = dg.LegacyFreshnessPolicy(maximum_lag_minutes=60)


@dg.asset(key=["sales", "kept"], deps=[ORDERS, RATES], legacy_freshness_policy=HOURLY)
def kept(): ...


@dg.asset(key=["sales", "two"], metadata=max_lag(minutes=90), legacy_freshness_policy=HOURLY)
def two(): ...


@dg.asset(
    key=["sales", "daily"],
    partitions_def=dg.DailyPartitionsDefinition("2026-01-01"),
    legacy_freshness_policy=HOURLY,
)
def daily(): ...


@dg.asset(
    key=["sales", "watched"],
    freshness_policy=dg.FreshnessPolicy.time_window(timedelta(hours=1)),
)
def watched(): ...


defs = with_freshline(
    dg.Definitions(assets=[ORDERS, RATES, kept, two, daily, watched]), location="sales"
)
