"""Wait until all assets were made; print what their materializations, runs and table say."""

import json
import os
import sys
import time
from typing import Any

import dagster as dg
import duckdb

ASSETS = ("raw/orders", "mart/revenue", "mart/report")


def latest(instance: dg.DagsterInstance, name: str) -> dict[str, Any] | None:
    """Return what the newest materialization of an asset says; None: it was never made."""
    key = dg.AssetKey(name.split("/"))
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return None
    run = instance.get_run_by_id(event.run_id)
    assert run is not None
    metadata = event.asset_materialization.metadata
    return {"metadata": sorted(metadata), "target": run.tags.get("freshline/target")}


def main(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with dg.DagsterInstance.get() as instance:
        while not all(found := [latest(instance, name) for name in ASSETS]):
            if time.monotonic() > deadline:
                sys.exit(f"After {seconds:.0f} s there is only {found}.")
            time.sleep(0.5)
        failed = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    with duckdb.connect(os.environ["WAREHOUSE"], read_only=True) as warehouse:
        rows = warehouse.execute("select revenue from mart.report").fetchall()
    assets = dict(zip(ASSETS, found, strict=True))
    print(json.dumps({"assets": assets, "rows": rows, "failed_runs": failed}))


if __name__ == "__main__":
    main(float(sys.argv[1]))
