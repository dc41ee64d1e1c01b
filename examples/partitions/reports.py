"""The second team: what the orders come to, day by day and in all."""

from pathlib import Path

import dagster as dg
from freshline import max_lag, with_freshline

DATA = Path(__file__).with_name("data")
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")

# The first team makes it. With its partitions, Dagster knows that a day is made from that day.
orders = dg.AssetSpec(["raw", "orders"], partitions_def=DAYS)


# A target with partitions. At midnight, its data is 24 hours old: yesterday is all that it has. So
# 26 hours mean: a day is there two hours after it is over.
@dg.asset(
    key=["mart", "daily_revenue"],
    partitions_def=DAYS,
    deps=[orders],
    metadata=max_lag(minutes=26 * 60),
)
def daily_revenue(context: dg.AssetExecutionContext) -> None:
    day = context.partition_key
    lines = (DATA / "orders" / f"{day}.csv").read_text().splitlines()
    revenue = sum(int(line.rpartition(",")[2]) for line in lines)
    file = DATA / "revenue" / f"{day}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{day},{revenue}\n")


# "Yesterday's figures by nine": at nine o'clock (UTC) they are nine hours old. It has no partitions
# and reads all days, so a missing day makes all of it as old as that day.
@dg.asset(
    key=["mart", "report"],
    deps=[daily_revenue],
    metadata=max_lag(minutes=9 * 60, cron="0 9 * * *"),
)
def report(context: dg.AssetExecutionContext) -> None:
    lines = [file.read_text() for file in sorted((DATA / "revenue").glob("*.csv"))]
    (DATA / "report.csv").write_text("".join(lines))
    context.add_output_metadata({"days": len(lines)})


defs = with_freshline(dg.Definitions(assets=[orders, daily_revenue, report]), location="reports")
