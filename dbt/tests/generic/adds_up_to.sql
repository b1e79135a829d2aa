{# Whether the sum of `column` differs from the number of rows of another model, of those of which `of_which` holds. #}
{% test adds_up_to(model, column, rows_of, of_which='true') %}
  select total, expected
  from (select coalesce(sum({{ column }}), 0) as total from {{ model }}),
    (select count(*) as expected from {{ rows_of }} where {{ of_which }})
  where total <> expected
{% endtest %}
