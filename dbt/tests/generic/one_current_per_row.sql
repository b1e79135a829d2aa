{# Rows that are there without exactly one current version, and current versions of rows that are not. #}
{% test one_current_per_row(model, key, rows_of) %}
  select coalesce(live.{{ key }}, current.{{ key }}) as {{ key }}, coalesce(current.versions, 0) as versions
  from (select {{ key }} from {{ rows_of }}) as live
  full join (select {{ key }}, count(*) as versions from {{ model }} where is_current group by {{ key }}) as current
    on current.{{ key }} = live.{{ key }}
  where live.{{ key }} is null or current.versions is distinct from 1
{% endtest %}
