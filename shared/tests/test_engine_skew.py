"""A run whose arguments another version of Dagster has written, which this one cannot read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg


@dg.job
def nothing() -> None: ...


class TestARunThatCannotBeRead:
    def test_fails_and_names_the_worker_its_dagster_and_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTING)
            arguments = {
                "__class__": "ExecuteRunArgs",
                "pipeline_run_id": run.run_id,
                "pipeline_origin": {"__class__": "OriginOfTomorrow"},
                "instance_ref": None,
            }

            said = {"arguments": json.dumps(arguments), "worker": "w@h", "why": "another release"}
            done = subprocess.run(
                [sys.executable, "-m", "freshline.engine.execution"],
                input=json.dumps(said),
                env={
                    **os.environ,
                    "DAGSTER_HOME": str(tmp_path),
                    "FRESHLINE_BROKER_URL": "redis://127.0.0.1:1/0",
                },
                capture_output=True,
                text=True,
                check=False,
            )

            assert 0 != done.returncode
            found = instance.get_run_by_id(run.run_id)
            assert found
            assert dg.DagsterRunStatus.FAILURE is found.status
            (message,) = [
                str(entry.dagster_event.message)
                for entry in instance.all_logs(run.run_id)
                if entry.dagster_event and entry.dagster_event.is_failure
            ]
            assert message.startswith(f"w@h has Dagster {dg.__version__} and cannot read")
            assert "OriginOfTomorrow" in message
            assert "upgrade the daemon first" in message
