"""The location that loads orders into the warehouse, a DuckDB file."""

import os

import dagster as dg
import duckdb
from freshline import asset_key, with_freshline


@dg.asset(
    key=asset_key("raw", "orders"),
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn("id", "integer"), dg.TableColumn("amount", "integer")]
        )
    },
)
def orders() -> None:
    with duckdb.connect(os.environ["WAREHOUSE"]) as warehouse:
        warehouse.execute("create schema if not exists raw")
        warehouse.execute("create or replace table raw.orders (id integer, amount integer)")
        warehouse.execute("insert into raw.orders values (1, 30), (2, 12)")


defs = with_freshline(
    dg.Definitions(assets=[orders], executor=dg.in_process_executor), location="feed"
)
