{#
  The rows that the pull `name` has published, as they were landed: one column per field of the pull, each
  struct(display_value, value, link), all text.

  The files come as the variable `<name>_files`, a list of Parquet files: Dagster passes it, and by hand
  `snow-assets files <name>` prints it. Without it there are no rows.

  Every field in `fields` is there whatever was landed: where the account may not read one, or nothing has been
  published yet, its column is null. So a model names its columns without asking the instance first.
#}
{% macro published(name, fields) %}
  {%- set files = var(name ~ '_files', []) -%}
  (
    {%- if files %}
    select * from read_parquet([
      {%- for file in files %}
      '{{ file | replace("'", "''") }}'{{ "," if not loop.last }}
      {%- endfor %}
    ], union_by_name = true)
    union all by name
    {%- endif %}
    select
      {%- for field in fields %}
      null::struct(display_value varchar, value varchar, link varchar) as "{{ field }}"{{ "," if not loop.last }}
      {%- endfor %}
    where false
  )
{% endmacro %}
