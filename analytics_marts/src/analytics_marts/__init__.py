"""The code location of team analytics_marts, which owns dbt_project_2."""

from pathlib import Path

DBT_PROJECT = Path(__file__).parents[2] / "dbt_project_2"
