with orders as (select * from {{ source("raw", "orders") }})

select day, sum(price) as amount from orders group by day
union all
select day, amount from {{ source("raw_again", "orders") }}
