"""A code location whose assets take a second each, as small as a `definitions.py` can be.

A test makes a copy for each location, beside a JSON file of the same name. An asset without inputs
writes a row with the time at which it began to read. Any other asset takes the newest row of each
input and copies the oldest of these, so the newest row of an asset is its data time.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
from freshline import data_time_metadata, max_lag, stamp_lag, with_freshline

# {"location": name, "assets": [{"key", "deps", "minutes"}, ...]}
CONFIG: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
WORK_SECONDS = 1.0


def write_row(key: str, newest: datetime) -> None:
    with psycopg2.connect(os.environ["WAREHOUSE_DSN"]) as warehouse, warehouse.cursor() as cursor:
        cursor.execute(f'create table if not exists "{key}" (newest timestamptz)')
        cursor.execute(f'insert into "{key}" values (%s)', [newest])


def read_newest(keys: list[str]) -> datetime:
    rows: list[datetime] = []
    with psycopg2.connect(os.environ["WAREHOUSE_DSN"]) as warehouse, warehouse.cursor() as cursor:
        for key in keys:
            cursor.execute(f'select max(newest) from "{key}"')
            rows.extend(row for (row,) in cursor.fetchall())
    return min(rows)


def build(key: str, deps: list[str], minutes: float | None) -> dg.AssetsDefinition:
    @dg.asset(
        key=key.split("/"),
        deps=[dg.AssetKey(dep.split("/")) for dep in deps],
        metadata=max_lag(minutes=minutes) if minutes else None,
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        began = datetime.now(UTC)
        newest = read_newest(deps) if deps else began
        time.sleep(WORK_SECONDS)
        write_row(key, newest)
        metadata: dict[str, Any] = {"newest": dg.MetadataValue.timestamp(newest)}
        if not deps:
            metadata |= data_time_metadata(began)
        yield from stamp_lag(context, iter([dg.MaterializeResult(metadata=metadata)]))

    return body


defs = with_freshline(
    dg.Definitions(
        assets=[build(**asset) for asset in CONFIG["assets"]],
        executor=dg.in_process_executor,
    ),
    location=CONFIG["location"],
)
