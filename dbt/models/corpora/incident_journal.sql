-- Comments and work notes of the incidents that are there, in the order in which they were written.

with journals as (
  select
    {{- select_typed('journals') }}
  from {{ source('servicenow', 'journals') }}
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
join {{ ref('stg_incidents') }} as incidents
  on incidents.sys_id = journals.element_id
where journals.name in ('incident', 'task')
