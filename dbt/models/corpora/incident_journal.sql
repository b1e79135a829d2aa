-- Comments and work notes of the incidents that are there, in the order in which they were written.
-- It reads both pulls as they were landed: either may be published first.

with journals as (
  select
    {{- select_typed('journals') }}
  from {{ source('servicenow', 'journals') }}
),

incidents as (
  select {{ typed('sys_id', 'GUID') }} as sys_id, {{ typed('number', 'string') }} as number
  from {{ source('servicenow', 'incidents') }}
)

select
  journals.sys_id,
  journals.element_id as incident,
  incidents.number,
  journals.element,
  row_number() over (partition by journals.element_id order by journals.sys_created_on, journals.sys_id) as entry,
  journals.value as text,
  journals.sys_created_on,
  journals.sys_created_by
from journals
join incidents
  on incidents.sys_id = journals.element_id
where journals.name in ('incident', 'task')
