"""The dbt project, and dbt."""

from pathlib import Path

from dagster_dbt import DbtProject
from freshline.dbt_build import FreshlineDbtResource

project = DbtProject(Path(__file__).parents[2] / "dbt_project_2")

dbt = FreshlineDbtResource(project)
