"""Team analytics_marts: dbt_project_2."""
