{# Versions of one row whose intervals overlap or run backwards, or that have no beginning. #}
{% test intervals_apart(model, key) %}
  select {{ key }}, valid_from, valid_to, next_from
  from (
    select {{ key }}, valid_from, valid_to, is_current,
      lead(valid_from) over (partition by {{ key }} order by valid_from, valid_to nulls last) as next_from
    from {{ model }}
  )
  where valid_from is null or valid_to < valid_from or (valid_to is null) <> is_current
    or (next_from is not null and (valid_to is null or valid_to > next_from))
{% endtest %}
