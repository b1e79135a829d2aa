{#
  The typed form of a landed field, from `value`, which is independent of the language and the time zone of the account.
  Empty is null. What cannot be read as its type is null too, and the test `typed_without_loss` tells.

  Types: string, integer, boolean, datetime (a timestamp in UTC), date, duration (seconds; the platform stores a
  duration as the moment that lies so long after 1970-01-01).
#}
{% macro typed(field, type) %}
  {%- set value -%} nullif("{{ field }}".value, '') {%- endset -%}
  {%- if type == 'string' -%} {{ value }}
  {%- elif type == 'integer' -%} try_cast(replace({{ value }}, ',', '') as bigint)
  {%- elif type == 'boolean' -%} case {{ value }} when 'true' then true when '1' then true when 'false' then false when '0' then false end
  {%- elif type == 'datetime' -%} try_cast({{ value }} as timestamp)
  {%- elif type == 'date' -%} try_cast({{ value }} as date)
  {%- elif type == 'duration' -%} epoch(try_cast({{ value }} as timestamp))::bigint
  {%- else -%} {{ exceptions.raise_compiler_error("typed(): no type '" ~ type ~ "' for the field '" ~ field ~ "'") }}
  {%- endif -%}
{% endmacro %}


{# The select list of a staging model: `<field>` typed, and `<field>_display` for those in `displayed`. #}
{% macro typed_columns(fields, displayed) %}
  {%- for field, type in fields.items() %}
    {{ typed(field, type) }} as "{{ field }}",
    {%- if field in displayed %}
    nullif("{{ field }}".display_value, '') as "{{ field }}_display",
    {%- endif %}
  {%- endfor %}
{% endmacro %}
