-- What the marts count: one row per incident that is there, with the moments of its life.
--
-- An incident ends when it is resolved, or closed without that (canceled); one that is inactive without any date ended when
-- it was last changed. It is open until then.

with incidents as (
  select
    sys_id,
    number,
    try_cast(opened_at as timestamp) as opened_at,
    try_cast(resolved_at as timestamp) as resolved_at,
    try_cast(closed_at as timestamp) as closed_at,
    coalesce(
      least(try_cast(resolved_at as timestamp), try_cast(closed_at as timestamp)),
      case when not try_cast(active as boolean) then try_cast(sys_updated_on as timestamp) end
    ) as ended_at,
    try_cast(active as boolean) as active,
    coalesce(try_cast(priority as bigint), 0) as priority,
    coalesce(priority_display, '(none)') as priority_name,
    coalesce(category, '') as category,
    coalesce(category_display, '(none)') as category_name,
    coalesce(assignment_group, '') as assignment_group,
    coalesce(assignment_group_display, '(none)') as assignment_group_name,
    coalesce(try_cast(reassignment_count as bigint), 0) as reassignments,
    coalesce(try_cast(reopen_count as bigint), 0) as reopens,
    try_cast(made_sla as boolean) as made_sla
  from {{ ref('stg_incidents') }}
),

today as (
  select {{ as_of('incidents', 'select max(try_cast(sys_updated_on as timestamp)) from ' ~ ref('stg_incidents')) }} as as_of
)

select
  incidents.*,
  case when incidents.resolved_at >= incidents.opened_at
    then epoch(incidents.resolved_at - incidents.opened_at) / 3600
  end as hours_to_resolve,
  incidents.ended_at is null or incidents.ended_at > today.as_of as is_open,
  date_trunc('month', incidents.opened_at)::date as opened_month,
  today.as_of
from incidents
cross join today
