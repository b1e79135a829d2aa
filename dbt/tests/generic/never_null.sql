{# Columns that hold nulls: each with their number. #}
{% test never_null(model, columns) %}
  {%- for column in columns %}
  select '{{ column }}' as column_name, count(*) as nulls from {{ model }} where "{{ column }}" is null having count(*) > 0
  {{ "union all" if not loop.last }}
  {%- endfor %}
{% endtest %}
