{#
  `create schema if not exists` by two sessions at once fails in one of them (a duplicate key in
  pg_namespace). Two teams share the layer `mart` and may both be first, so they take turns.
#}
{% macro postgres__create_schema(relation) -%}
    {%- call statement("create_schema") -%}
        select pg_advisory_xact_lock(hashtext('freshline: create schema'));
        create schema if not exists {{ relation.without_identifier().include(database=False) }}
    {%- endcall -%}
{%- endmacro %}
