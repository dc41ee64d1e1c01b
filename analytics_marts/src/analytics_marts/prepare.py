"""Run as `python -m analytics_marts.prepare`: make dbt_project_2 ready to load."""

from freshline import prepare_dbt

from analytics_marts import DBT_PROJECT

if __name__ == "__main__":
    raise SystemExit(prepare_dbt([DBT_PROJECT]))
