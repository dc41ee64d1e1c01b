"""What Dagster loads: `python_module: analytics_marts.definitions` in workspace.yaml."""

import dagster as dg
from freshline import with_freshline

from analytics_marts.assets import dbt_models
from analytics_marts.resources import dbt

defs = with_freshline(
    dg.Definitions(
        assets=[dbt_models],
        resources={"dbt": dbt},
        # A run has a single step, so it needs no further process, which takes about 5 s to start.
        executor=dg.in_process_executor,
    ),
    location="analytics_marts",
)
