{# The combinations of `columns` that occur more than once. Nulls are equal here. #}
{% test one_row_per(model, columns) %}
  select {{ columns | join(', ') }}, count(*) as occurrences
  from {{ model }}
  group by {{ columns | join(', ') }}
  having count(*) > 1
{% endtest %}
