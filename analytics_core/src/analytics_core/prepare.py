"""Run as `python -m analytics_core.prepare`: make dbt_project_1 ready to load."""

from freshline import prepare_dbt

from analytics_core import DBT_PROJECT

if __name__ == "__main__":
    raise SystemExit(prepare_dbt([DBT_PROJECT]))
