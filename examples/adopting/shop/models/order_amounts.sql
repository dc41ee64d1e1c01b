select ordered_at, country, amount
from {{ source("raw", "orders") }} as orders
inner join {{ source("crm", "customers") }} as customers on customers.id = orders.customer
