"""What Dagster loads while every server is down, without the other teams' code."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import dagster as dg
import pytest
from freshline import policy_of
from ingestion.assets import connection_assets, connection_schedule, key_of
from ingestion.connections import fetch_stargazer
from ingestion.definitions import defs

LINEAGE = Path(__file__).parent / "lineage.json"


def lineage() -> dict[str, object]:
    """Return what a reviewer wants to see of each asset."""
    found: dict[str, object] = {}
    for spec in defs.resolve_all_asset_specs():
        schema = spec.metadata.get("dagster/column_schema")
        policy = policy_of(spec)
        found[spec.key.to_user_string()] = {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "owners": list(spec.owners),
            "kinds": sorted(spec.kinds),
            "description": spec.description,
            "table": spec.metadata.get("dagster/table_name"),
            "policy": str(policy) if policy else None,
            "columns": [f"{one.name} {one.type}" for one in schema.columns] if schema else [],
        }
    return dict(sorted(found.items()))


class TestLineage:
    def test_lineage_is_as_reviewed(self, pytestconfig):
        """`pytest --write-lineage` accepts a change; the file shows it to the reviewer."""
        if pytestconfig.getoption("write_lineage"):
            LINEAGE.write_text(json.dumps(lineage(), indent=2) + "\n", encoding="utf-8")

        assert json.loads(LINEAGE.read_text(encoding="utf-8")) == lineage()

    def test_a_sync_makes_all_its_assets_together(self):
        assets = connection_assets(fetch_stargazer)

        assert not assets.can_subset
        assert "fetch_stargazer" == assets.op.pool

    def test_nested_relations_are_views(self):
        views = {
            spec.key.path[-1]: spec.metadata.get("freshline/view", False)
            for spec in connection_assets(fetch_stargazer).specs
        }

        assert {"stargazers": False, "stargazers_user": True} == views

    def test_assets_point_at_the_declaration(self):
        spec = connection_assets(fetch_stargazer).get_asset_spec(
            key_of(fetch_stargazer, "stargazers")
        )
        (reference,) = spec.metadata["dagster/code_references"].code_references

        assert reference.file_path.endswith("src/ingestion/connections.py")

    def test_the_schedule_runs_every_thirty_minutes(self):
        schedule = defs.resolve_schedule_def("fetch_stargazer_every_30_minutes")

        assert "*/30 * * * *" == schedule.cron_schedule
        assert dg.DefaultScheduleStatus.RUNNING == schedule.default_status

    def test_the_freshness_sensor_is_defined(self):
        assert "update_sensor" == defs.resolve_sensor_def("update_sensor").name

    def test_a_second_connection_brings_its_own_assets(self):
        """Another repository, landed in tables of its own."""
        second = fetch_stargazer.model_copy(
            update={
                "name": "fetch_moonshot",
                "prefix": "moonshot_",
                "sync_every_minutes": None,
                "source": fetch_stargazer.source.model_copy(update={"name": "github-moonshot"}),
            }
        )
        assets = connection_assets(second)

        assert {"postgres/moonshot_stargazers", "postgres/moonshot_stargazers_user"} == {
            key.to_user_string() for key in assets.keys
        }
        assert "fetch_moonshot" == assets.op.pool
        assert connection_schedule(second, assets) is None


class TestLoading:
    def test_loads_without_network_and_environment(self, tmp_path):
        """In a process of its own, with an empty environment and without network."""
        program = (
            "import sys\n"
            "def refuse(event, args):\n"
            "    assert event not in ('socket.connect', 'socket.getaddrinfo'), event\n"
            "sys.addaudithook(refuse)\n"
            "from ingestion.definitions import defs\n"
            "dg = sys.modules['dagster']\n"
            "dg.Definitions.validate_loadable(defs)\n"
            "print(len(list(defs.resolve_all_asset_specs())))\n"
            "late = [m for m in ('dagster_airbyte', 'httpx', 'jsonschema') if m in sys.modules]\n"
            "print(late)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PATH": "", "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

        assert "" == done.stderr
        # As many assets as here; what only a run needs is not imported.
        assert [str(len(lineage())), "[]"] == done.stdout.split("\n")[:2]


class TestIsolation:
    def test_no_other_team_is_installed(self):
        ours = {"ingestion", "freshline"}
        teams = {"analytics-core", "analytics-marts", "analytics_core", "analytics_marts"}
        installed = {one.metadata["Name"].lower() for one in distributions()}

        assert ours <= installed
        assert set() == installed & (teams | {"devstack", "dbt-core", "dagster-dbt"})

    @pytest.mark.parametrize("module", ["analytics_core", "analytics_marts", "devstack", "dbt"])
    def test_no_other_team_can_be_imported(self, module):
        with pytest.raises(ModuleNotFoundError):
            __import__(module)
