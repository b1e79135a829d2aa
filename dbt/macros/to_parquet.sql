{#
  A model's rows as `<warehouse>/<model>.parquet`, for readers that are not to open the DuckDB file, which has one writer
  at a time. The file is replaced whole. Parquet's intervals are read by few: they are written as seconds.
  Nothing without the variable `warehouse`, a folder.
#}
{% macro to_parquet(relation) %}
  {%- set folder = var('warehouse', none) -%}
  {%- if not execute or not folder or model.config.materialized != 'table' -%} {{ return('') }} {%- endif -%}
  {%- set intervals = [] -%}
  {%- for column in adapter.get_columns_in_relation(relation) if column.data_type | lower == 'interval' -%}
    {%- do intervals.append('epoch("' ~ column.name ~ '")::bigint as "' ~ column.name ~ '"') -%}
  {%- endfor -%}
  copy (select * {{ 'replace (' ~ intervals | join(', ') ~ ')' if intervals }} from {{ relation }})
  to '{{ folder | replace("'", "''") }}/{{ relation.identifier }}.parquet' (format parquet, compression zstd, use_tmp_file true)
{% endmacro %}
