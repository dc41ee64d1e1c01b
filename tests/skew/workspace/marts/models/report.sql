{{ config(meta={"dagster_freshness_policy": {"maximum_lag_minutes": 2}}) }}
select latest_at from {{ source("mart", "latest") }}
