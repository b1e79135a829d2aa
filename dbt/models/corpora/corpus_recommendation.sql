-- How was it solved before? Resolved and closed incidents with their close notes; `text` is ready to be embedded.

select
  {{- select_typed('incidents_closed') }},
  concat_ws(e'\n\n', {{ typed('short_description', 'string') }}, {{ typed('close_notes', 'string') }}) as text
from {{ source('servicenow', 'incidents_closed') }}
where {{ typed('close_notes', 'string') }} is not null
