{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ freshline_dbt.layer_schema(custom_schema_name, node) }}
{%- endmacro %}
