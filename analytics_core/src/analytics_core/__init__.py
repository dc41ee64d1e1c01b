"""Team analytics_core: dbt_project_1."""
