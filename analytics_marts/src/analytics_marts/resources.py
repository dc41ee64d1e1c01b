"""The dbt project, and the resource that runs dbt."""

from dagster_dbt import DbtProject
from freshline import FreshlineDbtResource

from analytics_marts import DBT_PROJECT

project = DbtProject(DBT_PROJECT)

dbt = FreshlineDbtResource(project)
