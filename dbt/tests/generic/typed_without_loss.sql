{#
  Values that are there but cannot be read as their type: they are null in the typed model. Each field with such values is
  one row: its name, its type on the platform, how many, and an example.
#}
{% test typed_without_loss(model, pull, table) %}
  {{ config(severity = 'warn') }}
  {%- for field, known in pull_fields(pull).items() if kind_of(known.type) != 'varchar' %}
  select '{{ field }}' as field, '{{ known.type }}' as type, count(*) as unreadable,
    min(struct_extract("{{ field }}", 'value')) as example
  from {{ table }}
  where nullif(struct_extract("{{ field }}", 'value'), '') is not null and ({{ typed(field, known.type) }}) is null
  having count(*) > 0
  union all
  {%- endfor %}
  select '' as field, '' as type, 0 as unreadable, '' as example where false
  -- of {{ model }}
{% endtest %}
