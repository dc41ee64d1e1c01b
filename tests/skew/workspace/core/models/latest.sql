select max(happened_at) as latest_at from {{ source("raw", "events") }}
