select *
from {{ source("raw", "orders") }}
cross join {{ source("raw", "customer") }}
cross join {{ source("sales", "daily_sales") }}
cross join {{ source("raw", "exchange_rates") }}
