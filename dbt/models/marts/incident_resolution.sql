-- How many incidents were opened, by month, group and priority, and how long the resolved ones took.

select
  date_trunc('month', opened_at)::date as opened_month,
  coalesce(assignment_group, '') as assignment_group,
  coalesce(any_value(assignment_group_display), '(none)') as assignment_group_name,
  coalesce(priority, 0) as priority,
  count(*) as incidents,
  count(*) filter (active) as still_open,
  count(resolved_at) as resolved,
  count(*) filter (reopen_count > 0) as reopened,
  count(*) filter (made_sla) as within_sla,
  round(median(epoch(resolved_at - opened_at) / 3600) filter (resolved_at >= opened_at), 2) as median_hours_to_resolve,
  round(quantile_cont(epoch(resolved_at - opened_at) / 3600, 0.9) filter (resolved_at >= opened_at), 2) as p90_hours_to_resolve
from {{ ref('stg_incidents') }}
group by all
