{#
  What the pulls have landed, as tables of the source `servicenow`.

  Dagster and `snow-assets dbt-vars` pass variables for each published pull: `<pull>_files` (its rows now), `<pull>_gone`
  (rows that went away), `<pull>_versions` and `<pull>_marks` (of a delta pull: every version seen, and when rows went
  away), `<pull>_columns` (the dictionary), `<pull>_plan`, `<pull>_base` and `<pull>_as_of`. Thousands of files do not fit into an argument: all of them
  may lie in a JSON file instead, which the variable `snow_vars` names.
#}
{% macro landed_var(name, default) %}
  {%- if not execute -%} {{ return(default) }} {%- endif -%}
  {%- set given = var(name, none) -%}
  {%- if given is not none -%} {{ return(given) }} {%- endif -%}
  {%- set file = var('snow_vars', none) -%}
  {%- if not file -%} {{ return(default) }} {%- endif -%}
  {%- set query -%}
    select json_extract(content, '$."{{ name }}"')::varchar from read_text('{{ file | replace("'", "''") }}')
  {%- endset -%}
  {%- set found = run_query(query).rows -%}
  {{ return(fromjson(found[0][0]) if found and found[0][0] else default) }}
{% endmacro %}


{# A view per table of the source. What the account may not read, or nobody has published yet, is a null column. #}
{% macro open_pulls() %}
  {%- if not execute -%} {{ return('') }} {%- endif -%}
  {%- set tables = graph.sources.values() | selectattr('source_name', 'equalto', 'servicenow') | list -%}
  {%- for schema in tables | map(attribute='schema') | unique -%}
    {%- do run_query('create schema if not exists "' ~ schema ~ '"') -%}
  {%- endfor -%}
  {%- for table in tables -%}
    {%- set pull = table.meta.get('pull', table.name) -%}
    {%- set part = table.meta.get('part', 'files') -%}
    {%- set files = landed_var(pull ~ '_' ~ part, none) -%}
    {%- if files is none -%}
      {# Of a full pull, and by hand: what is there now is all that was seen. #}
      {%- set files = landed_var(pull ~ '_files', []) if part == 'versions' else [] -%}
    {%- endif -%}
    {%- set until = {'versions': '_plan', 'marks': 'plan'}.get(part) -%}
    {%- do run_query(landed_view(table, files, landed_columns(pull, part), pull, until)) -%}
  {%- endfor -%}
  {{ return('') }}
{% endmacro %}


{# `until` is a column with a plan's id: what newer plans saw waits until the current rows show it, too. #}
{% macro landed_view(table, files, columns, pull, until) %}
  create or replace view {{ table.relation_name }} as
  with landed as (
    {%- if files %}
    select * from read_parquet([
      {%- for file in files %}'{{ file | replace("'", "''") }}'{{ "," if not loop.last }}{%- endfor -%}
    ], union_by_name = true, hive_partitioning = {{ 'true' if table.meta.get('part') == 'gone' else 'false' }},
      hive_types_autocast = false)
    union all by name
    {%- endif %}
    select {% for name, type in columns.items() %}null::{{ type }} as "{{ name }}"{{ ", " if not loop.last }}{% endfor %}
    where false
  )
  select {% for name in columns %}"{{ name }}"{{ ", " if not loop.last }}{% endfor %} from landed
  {%- set first, last = landed_var(pull ~ '_base', none), landed_var(pull ~ '_plan', none) -%}
  {%- if until and last %}
  where {{ until }} is null or {{ until }} between '{{ first }}' and '{{ last }}'
  {%- endif %}
{% endmacro %}


{# The columns that a table of the source has whatever was landed: name to type of DuckDB. #}
{% macro landed_columns(pull, part) %}
  {%- if part == 'marks' -%}
    {{ return({'sys_id': 'varchar', 'kind': 'varchar', 'method': 'varchar', 'at': 'timestamptz', 'plan': 'varchar',
               'detail': 'varchar'}) }}
  {%- endif -%}
  {%- set columns = {} -%}
  {%- for field in pull_fields(pull) -%}
    {%- do columns.update({field: 'struct(display_value varchar, value varchar, link varchar)'}) -%}
  {%- endfor -%}
  {%- if part in ('gone', 'versions') -%} {%- do columns.update({'_plan': 'varchar'}) -%} {%- endif -%}
  {%- if part == 'gone' -%}
    {%- do columns.update({'_state': 'varchar', '_deleted_at': 'timestamptz', '_deleted_by': 'varchar',
                           '_left_at': 'timestamptz'}) -%}
  {%- endif -%}
  {{ return(columns) }}
{% endmacro %}


{#
  The fields of a pull: name to its type on the platform, and whether people see something else than what is stored.
  First those that sources.yml declares, then all others that the pull lands, as far as the dictionary may be read. Its
  word on a type wins over the declared one.
#}
{% macro pull_fields(pull) %}
  {%- set fields = {} -%}
  {%- if not execute -%} {{ return(fields) }} {%- endif -%}
  {%- set known = landed_var(pull ~ '_columns', {}) -%}
  {%- set tables = graph.sources.values() | selectattr('source_name', 'equalto', 'servicenow') -%}
  {%- for table in tables if table.name == pull -%}
    {%- for column in table.columns.values() -%}
      {%- set type = known.get(column.name, {}).get('type') or column.data_type -%}
      {%- do fields.update({column.name: {'type': type, 'display': column.meta.get('display', false)}}) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- for name, column in known.items() if name not in fields -%}
    {%- set shown = column.get('reference') or column.get('choice') or kind_of(column.get('type')) == 'interval' -%}
    {%- do fields.update({name: {'type': column.get('type'), 'display': shown}}) -%}
  {%- endfor -%}
  {{ return(fields) }}
{% endmacro %}


{# When the newest plan of a pull was made, as a timestamp in UTC: "now" for whoever reads the warehouse. #}
{% macro as_of(pull, otherwise) %}
  {%- set moment = landed_var(pull ~ '_as_of', none) -%}
  {%- if moment -%} timestamp '{{ moment }}' {%- else -%} ({{ otherwise }}) {%- endif -%}
{% endmacro %}
