{#
  Values that are there but cannot be read as their type: they are null in the staging model. Each field with such values
  is one row: its name, how many, and an example.
#}
{% test typed_without_loss(model, pull) %}
  {{ config(severity = 'warn') }}
  {%- set fields = incident_fields() %}
  with landed as (select * from {{ published(pull, fields.keys()) }})
  {%- for field, type in fields.items() if type != 'string' %}
  select '{{ field }}' as field, '{{ type }}' as type, count(*) as unreadable, min("{{ field }}".value) as example
  from landed
  where nullif("{{ field }}".value, '') is not null and ({{ typed(field, type) }}) is null
  having count(*) > 0
  {{ "union all" if not loop.last }}
  {%- endfor %}
  -- of {{ model }}
{% endtest %}
