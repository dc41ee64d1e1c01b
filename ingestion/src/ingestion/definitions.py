"""What Dagster loads: assets, schedules and resources of team ingestion.

Loading opens no connection and reads no environment: everything follows from `connections.py`.
"""

from __future__ import annotations

import dagster as dg
from freshline import with_freshline

from ingestion.assets import connection_assets, connection_schedule
from ingestion.connections import CONNECTIONS
from ingestion.resources import Airbyte, Warehouse

__all__ = ["defs"]


def build_definitions() -> dg.Definitions:
    made = [(connection, connection_assets(connection)) for connection in CONNECTIONS]
    schedules = [connection_schedule(connection, assets) for connection, assets in made]
    return dg.Definitions(
        assets=[assets for _, assets in made],
        schedules=[schedule for schedule in schedules if schedule is not None],
        resources={"airbyte": Airbyte(), "warehouse": Warehouse()},
        # A run has one step; a process of its own for it costs five seconds.
        executor=dg.in_process_executor,
    )


defs = with_freshline(build_definitions(), location="ingestion")
