"""The location that writes events into the warehouse."""

import os
from datetime import UTC, datetime

import dagster as dg
import psycopg2
from freshline import asset_key, data_time_metadata, with_freshline
from made_by import say


@dg.asset(
    key=asset_key("raw", "events"),
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn("happened_at", "timestamptz")]
        )
    },
)
def events(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    say(context)
    now = datetime.now(UTC)
    with (
        psycopg2.connect(
            host=os.environ["WAREHOUSE_HOST"],
            port=os.environ["WAREHOUSE_PORT"],
            user=os.environ["WAREHOUSE_USER"],
            password=os.environ["WAREHOUSE_PASSWORD"],
            dbname=os.environ["WAREHOUSE_DATABASE"],
        ) as warehouse,
        warehouse.cursor() as cursor,
    ):
        cursor.execute("create schema if not exists raw")
        cursor.execute("create table if not exists raw.events (happened_at timestamptz not null)")
        cursor.execute("insert into raw.events values (%s)", [now])
    return dg.MaterializeResult(metadata=data_time_metadata(now))


defs = with_freshline(
    dg.Definitions(assets=[events], executor=dg.in_process_executor), location="feed"
)
