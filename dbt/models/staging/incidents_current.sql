-- depends_on: {{ source('servicenow', 'incidents_gone') }}
-- One row per incident, typed: those that are there, and those that went away, in their last version. Times are UTC.

select
  {{- select_typed('incidents') }},
  'live' as _state,
  null::timestamp as _deleted_at,
  null::varchar as _deleted_by,
  null::timestamp as _left_at
from {{ source('servicenow', 'incidents') }}
union all
select
  {{- select_typed('incidents') }},
  coalesce(_state, case when _deleted_at is null then 'left_filter' else 'deleted' end) as _state,
  _deleted_at at time zone 'UTC' as _deleted_at,
  _deleted_by,
  _left_at at time zone 'UTC' as _left_at
from {{ source('servicenow', 'incidents_gone') }}
