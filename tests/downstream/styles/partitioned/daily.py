import warnings

import dagster as dg
from freshline import max_lag, with_freshline

warnings.simplefilter("ignore")  # Dagster warns of the older kind of policy


@dg.asset(
    key=["events", "daily"],
    partitions_def=dg.DailyPartitionsDefinition("2026-01-01"),
    deps=[dg.AssetDep(["events", "hourly"], partition_mapping=dg.TimeWindowPartitionMapping())],
    metadata=max_lag(minutes=26 * 60),
)
def daily(): ...


@dg.asset(key=["events", "totals"], deps=[["events", "daily"]], metadata=max_lag(minutes=28 * 60))
def totals(): ...


@dg.asset(key=["events", "now"], deps=[["events", "daily"]], metadata=max_lag(minutes=60))
def now(): ...  # a day is not over within an hour


@dg.asset(
    key=["events", "weekdays"],
    partitions_def=dg.TimeWindowPartitionsDefinition(
        start="2026-01-01", fmt="%Y-%m-%d", cron_schedule="0 0 * * *", exclusions=["0 0 * * 0,6"]
    ),
    legacy_freshness_policy=dg.LegacyFreshnessPolicy(maximum_lag_minutes=26 * 60),
)
def weekdays(): ...


defs = with_freshline(dg.Definitions(assets=[daily, totals, now, weekdays]), location="daily")
