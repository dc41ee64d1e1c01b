"""A run that is cancelled while dbt builds a model."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

# What the process of a run does. To cancel the run, Dagster sends the process a signal.
RUN = """
import dagster as dg
from analytics_core.assets import dbt_models
from analytics_core.resources import dbt

with dg.DagsterInstance.ephemeral() as instance:
    dg.materialize(
        [dbt_models],
        selection=[dg.AssetKey(["mart", "mart_gh_stargazer"])],
        resources={"dbt": dbt},
        instance=instance,
    )
"""
QUERIES = """
    select pid from pg_stat_activity
    where state = 'active' and query like '%mart_gh_stargazer%' and pid <> pg_backend_pid()
"""


def test_a_cancelled_run_ends_its_query(warehouse: Any) -> None:
    warehouse.run("alter table postgres.stargazers rename to empty")
    # Reading this view takes longer than the test waits for anything.
    warehouse.run(
        "create view postgres.stargazers as "
        "select stars.* from pg_sleep(600) left join postgres.empty as stars on true"
    )
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        try:
            deadline = time.monotonic() + 180
            while not warehouse.rows(QUERIES):
                assert time.monotonic() < deadline, "the query never started"
                assert run.poll() is None, run.communicate()[0]
                time.sleep(0.2)

            run.send_signal(signal.SIGINT)
            output, _ = run.communicate(timeout=180)
        finally:
            run.kill()

    assert 0 != run.returncode
    assert "DagsterExecutionInterruptedError" in output
    assert [] == warehouse.rows(QUERIES)
