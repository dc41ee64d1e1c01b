import dagster as dg
from freshline import with_freshline


@dg.asset(
    key=["events", "daily"],
    partitions_def=dg.DailyPartitionsDefinition("2026-01-01"),
    deps=[dg.AssetDep(["events", "hourly"], partition_mapping=dg.TimeWindowPartitionMapping())],
)
def daily(): ...


@dg.asset(
    key=["events", "totals"],
    deps=[["events", "daily"]],
    metadata={"freshline/max_lag": {"minutes": 60}},
)
def totals(): ...


defs = with_freshline(dg.Definitions(assets=[daily, totals]), location="daily")
