-- Is it being worked on already? Open incidents; `text` is ready to be embedded.

select
  {{- select_typed('incidents_active') }},
  coalesce({{ typed('short_description', 'string') }}, '') as text
from {{ source('servicenow', 'incidents_active') }}
