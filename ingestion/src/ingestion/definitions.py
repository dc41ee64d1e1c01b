"""What Dagster loads: assets, schedules and resources of team ingestion.

Loading opens no connection and reads no environment: everything follows from `connections.py`.
"""

from __future__ import annotations

import dagster as dg

from ingestion.assets import connection_assets, connection_schedule
from ingestion.connections import CONNECTIONS
from ingestion.resources import Airbyte, Warehouse

__all__ = ["defs"]


def build_definitions() -> dg.Definitions:
    assets = [connection_assets(connection) for connection in CONNECTIONS]
    schedules = [connection_schedule(c, a) for c, a in zip(CONNECTIONS, assets)]
    return dg.Definitions(
        assets=assets,
        schedules=[schedule for schedule in schedules if schedule is not None],
        resources={"airbyte": Airbyte(), "warehouse": Warehouse()},
        # A run has one step; a process of its own for it costs five seconds.
        executor=dg.in_process_executor,
    )


defs = build_definitions()
