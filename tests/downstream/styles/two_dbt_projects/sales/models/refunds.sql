{# No YAML lists its columns. #}
with orders as (select * from {{ source("raw", "orders") }})

select day, -amount as refunded from orders where amount < 0
