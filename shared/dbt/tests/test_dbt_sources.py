"""dbt reads the files that `freshline sources` writes, for a warehouse on Postgres."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from freshline.contract import Column, Contract, Export
from freshline.dbt.sources import merge_sources
from freshline.policy import MaxLag

SHOP = Contract(
    location="shop",
    exports=(
        Export(
            key="raw/orders",
            description="One row an order.",
            policy=MaxLag(5),
            columns=(Column(name="id", type="bigint"), Column(name="at", type="timestamptz")),
        ),
    ),
)
PROFILE = """\
warehouse:
  target: dev
  outputs:
    dev: {type: postgres, host: localhost, port: 1, user: me, password: "", dbname: shop,
          schema: public}
"""
SETTINGS = """\
name: reader
profile: warehouse
flags: {send_anonymous_usage_stats: false}
"""
LOADED_AT = """\
sources:
  - name: raw
    config: {loaded_at_field: at}
    tables:
      - name: orders
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", {"meta": {"freshline": {"maximum_lag_minutes": 5}}, "error_after": None}),
        (LOADED_AT, {"meta": {}, "error_after": {"count": 5, "period": "minute"}}),
    ],
    ids=["no loaded_at_field", "loaded_at_field"],
)
def test_dbt_reads_the_policy_without_a_warning(
    before: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    output, source = parsed(merge_sources(before, SHOP), tmp_path)

    assert "metadata-based freshness" not in output
    assert "loaded_at_field" not in output
    assert expected == {"meta": source["meta"], "error_after": error_after(source)}


def error_after(source: dict[str, Any]) -> Any:
    """Return the age at which dbt calls the table stale; None: dbt does not check it."""
    limit = (source["freshness"] or {}).get("error_after") or {}
    return {name: limit[name] for name in ("count", "period")} if limit.get("count") else None


def parsed(sources: str, project: Path) -> tuple[str, dict[str, Any]]:
    """Parse a project that has this source. Return dbt's output and the source in the manifest."""
    (project / "models").mkdir()
    (project / "dbt_project.yml").write_text(SETTINGS)
    (project / "profiles.yml").write_text(PROFILE)
    (project / "models" / "sources.yml").write_text(sources)
    dbt = Path(sys.executable).with_name("dbt")
    command = [dbt, "--log-path", project, "parse", "--project-dir", project]
    done = subprocess.run(
        [*command, "--profiles-dir", project], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout
    manifest = json.loads((project / "target" / "manifest.json").read_text())
    (source,) = manifest["sources"].values()
    return done.stdout + done.stderr, source
