select country, sum(amount) as revenue
from {{ ref("order_amounts") }}
group by country
