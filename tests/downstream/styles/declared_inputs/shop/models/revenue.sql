select * from {{ source("raw", "orders") }}
union all select * from {{ source("raw", "rates") }}
union all select * from {{ source("loader", "stars") }}
union all select * from {{ ref("hidden") }}
