{# Whether the sum of `column` differs from the number of rows of another model. #}
{% test adds_up_to(model, column, rows_of) %}
  select total, expected
  from (select coalesce(sum({{ column }}), 0) as total from {{ model }}), (select count(*) as expected from {{ rows_of }})
  where total <> expected
{% endtest %}
