{# The one place where types of the platform become types of DuckDB; whatever is not named here is a string. #}
{% macro kind_of(type) %}
  {{ return({
    'glide_date_time': 'timestamp',
    'glide_utc_time': 'timestamp',
    'datetime': 'timestamp',
    'due_date': 'timestamp',
    'glide_date': 'date',
    'date': 'date',
    'glide_time': 'time',
    'time': 'time',
    'glide_duration': 'interval',
    'timer': 'interval',
    'integer': 'bigint',
    'longint': 'bigint',
    'long': 'bigint',
    'order_index': 'bigint',
    'decimal': 'decimal(38, 10)',
    'float': 'double',
    'double': 'double',
    'percent_complete': 'double',
    'boolean': 'boolean',
  }.get(type, 'varchar')) }}
{% endmacro %}


{#
  The typed form of a landed field, from `value`, which is independent of the language and the time zone of the account.
  Empty is null. What cannot be read as its type (a column that was retyped in mid-life) is null too, and the test
  `typed_without_loss` tells. Timestamps are UTC. The platform stores a duration as the moment that lies so long after
  1970-01-01, and it becomes an interval.
#}
{% macro typed(field, type) %}
  {%- set value -%} nullif(struct_extract("{{ field }}", 'value'), '') {%- endset -%}
  {%- set kind = kind_of(type) -%}
  {%- if kind == 'varchar' -%} {{ value }}
  {%- elif kind == 'boolean' -%} case {{ value }} when 'true' then true when '1' then true when 'false' then false when '0' then false end
  {%- elif kind == 'interval' -%} to_seconds(epoch(try_cast({{ value }} as timestamp)))
  {%- elif kind == 'time' -%} try_cast(try_cast({{ value }} as timestamp) as time)
  {%- elif kind in ('timestamp', 'date') -%} try_cast({{ value }} as {{ kind }})
  {%- else -%} try_cast(replace({{ value }}, ',', '') as {{ kind }})
  {%- endif -%}
{% endmacro %}


{#
  The columns of a typed model over a pull: `<field>` typed, and `<field>_display`, what people see, for choices and
  references (a reference's `<field>` is the sys_id, its display the name). A field that is itself called so stays.
#}
{% macro typed_columns(pull) %}
  {%- set columns = {} -%}
  {%- set fields = pull_fields(pull) -%}
  {%- for field, known in fields.items() -%}
    {%- do columns.update({field: typed(field, known.type)}) -%}
    {%- if known.display and field ~ '_display' not in fields -%}
      {%- set shown -%} nullif(struct_extract("{{ field }}", 'display_value'), '') {%- endset -%}
      {%- do columns.update({field ~ '_display': shown}) -%}
    {%- endif -%}
  {%- endfor -%}
  {{ return(columns) }}
{% endmacro %}


{# The select list of a typed model. #}
{% macro select_typed(pull) %}
  {%- for column, expression in typed_columns(pull).items() %}
  {{ expression }} as "{{ column }}"{{ "," if not loop.last }}
  {%- endfor %}
{% endmacro %}


{# The same columns by name, of a model that has them already. #}
{% macro select_named(pull, alias='') %}
  {%- for column in typed_columns(pull) %}
  {{ alias ~ '.' if alias }}"{{ column }}"{{ "," if not loop.last }}
  {%- endfor %}
{% endmacro %}
