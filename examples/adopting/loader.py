"""The first team: loads orders into the warehouse, every hour."""

from pathlib import Path

import dagster as dg
import duckdb

WAREHOUSE = Path(__file__).with_name("warehouse.duckdb")


@dg.asset(key=["raw", "orders"])
def orders() -> None:
    with duckdb.connect(str(WAREHOUSE)) as warehouse:
        warehouse.execute("create schema if not exists raw")
        warehouse.execute(
            "create table if not exists raw.orders"
            " (ordered_at timestamptz, customer integer, amount integer)"
        )
        warehouse.execute("insert into raw.orders values (now(), 1, 30), (now(), 2, 12)")


hourly = dg.ScheduleDefinition(
    name="hourly",
    target=dg.AssetSelection.assets(orders),
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
defs = dg.Definitions(assets=[orders], schedules=[hourly])
