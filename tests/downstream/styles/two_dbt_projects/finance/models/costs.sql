select day, refunded, reason from {{ source("sales", "refunds") }}
