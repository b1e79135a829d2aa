-- depends_on: {{ source('servicenow', 'incidents') }}
-- One row per incident, typed. Times are UTC.
{%- set fields = incident_fields() %}

select
  {{- typed_columns(fields, incident_displayed()) }}
from {{ published('incidents', fields.keys()) }} as landed
