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

users as (

    select
        repository,
        user_id,
        min(login) as login
    from {{ source('postgres', 'stargazers_user') }}
    group by repository, user_id

)

select
    stars.repository,
    stars.user_id,
    users.login as user_login,
    stars.starred_at
from stars
left join users
    on stars.repository = users.repository
    and stars.user_id = users.user_id
