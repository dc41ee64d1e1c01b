"""What Dagster loads: the assets, schedules and resources of team ingestion.

Loading opens no network connection and reads no environment: all of it follows from
`connections.py`.
"""

from __future__ import annotations

import dagster as dg
from freshline import with_freshline

from ingestion.assets import connection_assets, connection_schedule
from ingestion.connections import CONNECTIONS
from ingestion.resources import Airbyte, Warehouse

__all__ = ["defs"]


def build_definitions() -> dg.Definitions:
    """Return the assets of every declared connection, with what schedules and runs them."""
    assets = [connection_assets(connection) for connection in CONNECTIONS]
    schedules = [connection_schedule(*pair) for pair in zip(CONNECTIONS, assets, strict=True)]
    return dg.Definitions(
        assets=assets,
        schedules=[schedule for schedule in schedules if schedule is not None],
        resources={"airbyte": Airbyte(), "warehouse": Warehouse()},
        # A run has one step. Starting a process for it would take five seconds.
        executor=dg.in_process_executor,
    )


defs = with_freshline(build_definitions(), location="ingestion")
