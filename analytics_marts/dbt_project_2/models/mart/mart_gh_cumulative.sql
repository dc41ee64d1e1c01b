{{ config(meta={"dagster_freshness_policy": {"maximum_lag_minutes": 5}}) }}

-- A landing table that Airbyte only appends to holds a star more than once. The newest row counts,
-- so that every reader of the landing table counts the same stars.
with stars as (

    select distinct on (repository, user_id)
        repository,
        user_id,
        starred_at
    from {{ source('postgres', 'stargazers') }}
    order by repository, user_id, starred_at desc, _airbyte_extracted_at desc

),

-- Months begin at midnight UTC, whatever time zone the session is in.
counted as (

    select
        cast(date_trunc('month', starred_at at time zone 'UTC') as date) as month,
        count(*) as stars
    from stars
    group by 1

),

-- Every month from the first star to the last, also the months without a star.
months as (

    select cast(generate_series(first_month, last_month, interval '1 month') as date) as month
    from (
        select
            min(month) as first_month,
            max(month) as last_month
        from counted
    ) as span

)

select
    months.month,
    coalesce(counted.stars, 0) as stars,
    cast(sum(coalesce(counted.stars, 0)) over (order by months.month) as bigint) as cumulative_stars
from months
left join counted
    on months.month = counted.month
