{# Rows whose value is not the sum of `of` over this row and all before it (of its partition). #}
{% test running_total(model, column_name, of, order_by, partition_by=none) %}
select *
from (
    select
        {{ column_name }} as actual,
        sum({{ of }}) over (
            {% if partition_by is not none %}partition by {{ partition_by }} {% endif -%}
            order by {{ order_by }}
        ) as expected
    from {{ model }}
) as totals
where actual is distinct from expected
{% endtest %}
