-- Every version of every incident that a sync saw, and from when to when it was the incident.
--
-- A version begins when it was written, `sys_updated_on`. Where that cannot be (the clock stood still or went back, or the
-- row came back after it had gone), it begins when it was first seen. So intervals of one incident neither overlap nor run
-- backwards; one may be empty, where two versions began in the same second.

with seen as materialized (
  select
    {{- select_typed('incidents') }},
    coalesce(_plan, '') as _plan,
    row_number() over () as _row
  from {{ source('servicenow', 'incidents_versions') }}
),

-- What happened to an incident, in the order in which it was observed: in one plan, marks were made after the rows.
events as (
  select sys_id, _plan, 0 as _step, sys_updated_on as _at, sys_mod_count as _mod, null::varchar as _ending, _row
  from seen
  union all
  select sys_id, plan, 1, "at" at time zone 'UTC', null, kind, null
  from {{ source('servicenow', 'incidents_marks') }}
),

neighbours as (
  select
    *,
    lag(_step) over incident as _step_before,
    lag(_at) over incident as _at_before,
    lag(_mod) over incident as _mod_before
  from events
  window incident as (partition by sys_id order by _plan, _step, _at, _mod)
),

-- The same version, seen again by the next sync, is one; of its observations the last one is kept.
numbered as (
  select
    *,
    count(*) filter (
      _step = 1 or _step_before is distinct from 0
      or _at is distinct from _at_before or _mod is distinct from _mod_before
    ) over (partition by sys_id order by _plan, _step, _at, _mod rows unbounded preceding) as _island
  from neighbours
),

islands as (
  select
    sys_id, _island, any_value(_step) as _step, any_value(_at) as _at, any_value(_ending) as _ending,
    min(_plan) as _first_plan, max(_plan) as _last_plan, max_by(_row, struct_pack(_plan, _row)) as _row,
    try_strptime(min(_plan), '%Y%m%dT%H%M%SZ') as _seen
  from numbered
  group by sys_id, _island
),

-- The moment at which an event ends what was before it.
dated as (
  select
    *,
    case
      when _step = 1 then _at
      when _at is null or _at <= max(_at) over earlier then coalesce(_seen, _at)
      else _at
    end as _moment
  from islands
  window earlier as (partition by sys_id order by _island rows between unbounded preceding and 1 preceding)
),

ordered as (
  select *, max(_moment) over (partition by sys_id order by _island rows unbounded preceding) as _since
  from dated
),

spans as (
  select
    *,
    lead(_since) over incident as _until,
    case lead(_step) over incident when 0 then 'update' when 1 then lead(_ending) over incident end as _ended_by
  from ordered
  window incident as (partition by sys_id order by _island)
)

select
  {{- select_named('incidents', 'seen') }},
  spans._since as valid_from,
  spans._until as valid_to,
  spans._ended_by is null as is_current,
  spans._ended_by as ended_by,
  nullif(spans._first_plan, '') as first_seen_in,
  nullif(spans._last_plan, '') as last_seen_in
from spans
join seen
  on seen._row = spans._row
