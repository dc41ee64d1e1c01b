"""The run coordinator of warm runs, where another launcher has their place."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import yaml


def test_with_another_launcher_the_queue_is_dagsters_own(tmp_path: Path) -> None:
    coordinator = {
        "module": "freshline.engine.coordinator",
        "class": "WarmRunCoordinator",
        "config": {"dequeue_interval_seconds": 2},
    }
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"run_coordinator": coordinator}))

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert 2 == instance.run_coordinator.dequeue_interval_seconds
        assert instance.get_concurrency_config().run_queue_config
