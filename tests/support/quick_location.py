"""A code location whose assets take a second: what one team's `definitions.py` boils down to.

The test writes a copy a location, with the first lines filled in. The root writes the moment
at which it began reading as a row; every other asset copies its inputs' oldest newest row, so
that the newest row in a mart *is* its data time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import dagster as dg
import psycopg2
from freshline import data_time_metadata, max_lag, stamp_lag, with_freshline

LOCATION = "{location}"
# Key, the keys it reads, maximum lag in minutes or None.
ASSETS: list[tuple[str, list[str], float | None]] = {assets}
WORK_SECONDS = 1.0


def table(key: str) -> str:
    return '"' + key + '"'


def write_row(key: str, newest: datetime) -> None:
    with psycopg2.connect(os.environ["WAREHOUSE_DSN"]) as warehouse, warehouse.cursor() as cursor:
        cursor.execute(f"create table if not exists {{table(key)}} (newest timestamptz)")
        cursor.execute(f"insert into {{table(key)}} values (%s)", [newest])


def read_newest(keys: list[str]) -> datetime:
    with psycopg2.connect(os.environ["WAREHOUSE_DSN"]) as warehouse, warehouse.cursor() as cursor:
        rows = []
        for key in keys:
            cursor.execute(f"select max(newest) from {{table(key)}}")
            rows.append(cursor.fetchone()[0])
    return min(rows)


def build(key: str, deps: list[str], minutes: float | None) -> dg.AssetsDefinition:
    @dg.asset(
        key=key.split("/"),
        deps=[dg.AssetKey(dep.split("/")) for dep in deps],
        metadata=max_lag(minutes=minutes) if minutes else None,
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        began = datetime.now(timezone.utc)
        newest = read_newest(deps) if deps else began
        time.sleep(WORK_SECONDS)
        write_row(key, newest)
        metadata = {{"newest": dg.MetadataValue.timestamp(newest)}}
        if not deps:
            metadata |= data_time_metadata(began)
        yield from stamp_lag(context, iter([dg.MaterializeResult(metadata=metadata)]))

    return body


defs = with_freshline(
    dg.Definitions(
        assets=[build(*asset) for asset in ASSETS], executor=dg.in_process_executor
    ),
    location=LOCATION,
)
