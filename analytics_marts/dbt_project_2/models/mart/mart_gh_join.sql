{{ config(meta={"dagster_freshness_policy": {"maximum_lag_minutes": 10}}) }}

with stars as (

    select
        repository,
        user_id,
        user_login,
        starred_at,
        cast(date_trunc('month', starred_at at time zone 'UTC') as date) as month
    from {{ source('mart', 'mart_gh_stargazer') }}

),

counted as (

    select
        repository,
        month,
        count(*) as stars,
        count(distinct user_id) as stargazers,
        min(starred_at) as first_starred_at,
        max(starred_at) as latest_starred_at,
        (array_agg(user_login order by starred_at desc, user_id desc))[1] as latest_user_login
    from stars
    group by repository, month

),

-- The two inputs are rebuilt at different times, so each may have a month that the other does not
-- have yet. The join keeps the months of both.
all_months as (

    select
        coalesce(totals.month, cumulative.month) as month,
        greatest(coalesce(totals.stars, 0), coalesce(cumulative.stars, 0)) as stars
    from (
        select month, sum(stars) as stars
        from counted
        group by month
    ) as totals
    full join {{ ref('mart_gh_cumulative') }} as cumulative
        on totals.month = cumulative.month

),

-- Each repository, with the month of its first star.
repositories as (

    select repository, min(month) as first_month
    from counted
    group by repository

)

select
    repositories.repository,
    all_months.month,
    coalesce(counted.stars, 0) as stars,
    cast(
        sum(coalesce(counted.stars, 0)) over (
            partition by repositories.repository order by all_months.month
        ) as bigint
    ) as cumulative_stars,
    coalesce(counted.stargazers, 0) as stargazers,
    counted.first_starred_at,
    counted.latest_starred_at,
    counted.latest_user_login,
    cast(all_months.stars as bigint) as all_repositories_stars,
    round(
        cast(coalesce(counted.stars, 0) as numeric) / nullif(all_months.stars, 0), 4
    ) as share_of_stars
from repositories
inner join all_months
    on repositories.first_month <= all_months.month
left join counted
    on repositories.repository = counted.repository
    and all_months.month = counted.month
