{#
  The schema a model is built in: its layer, with the developer's prefix before it.

  The layer is the model's configured `+schema`. It is also the first part of the asset's key, so
  it is the same in every target; only the prefix (WAREHOUSE_SCHEMA_PREFIX, empty in production
  and on a laptop of one's own) differs. A project uses it from its own generate_schema_name,
  because dbt does not look for that macro in installed packages.
#}
{% macro layer_schema(layer, node) -%}
    {%- if layer is none -%}
        {{ exceptions.raise_compiler_error(
            node.resource_type ~ " " ~ node.name ~ " has no layer: set +schema for its folder in dbt_project.yml"
        ) }}
    {%- endif -%}
    {{ env_var("WAREHOUSE_SCHEMA_PREFIX", "") }}{{ layer | trim }}
{%- endmacro %}
