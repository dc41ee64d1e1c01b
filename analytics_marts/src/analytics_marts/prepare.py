"""`python -m analytics_marts.prepare` makes dbt_project_2 ready to load, anew after changes."""

from freshline import prepare_dbt

from analytics_marts import DBT_PROJECT

if __name__ == "__main__":
    raise SystemExit(prepare_dbt([DBT_PROJECT]))
