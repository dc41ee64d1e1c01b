{{ config(meta={"dagster_freshness_policy": {"maximum_lag_minutes": 10}}) }}
-- Takes a second or two, in which no other process can open the DuckDB file to look at revenue.
select revenue, (select count(*) from range(400000000) as numbers(i) where i % 7 = 3) as sevenths
from {{ ref("revenue") }}
