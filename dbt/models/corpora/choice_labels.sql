-- What people see for a stored choice, by table, field and language.

select
  {{- select_typed('choices') }}
from {{ source('servicenow', 'choices') }}
