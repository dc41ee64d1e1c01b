"""The code location of team analytics_core, which owns dbt_project_1."""

from pathlib import Path

DBT_PROJECT = Path(__file__).parents[2] / "dbt_project_1"
