-- How many incidents were opened, by month, group and priority, and how long the resolved ones took.

select
  opened_month,
  assignment_group,
  max(assignment_group_name) as assignment_group_name,
  priority,
  max(priority_name) as priority_name,
  count(*) as incidents,
  count(*) filter (active) as still_open,
  count(resolved_at) as resolved,
  round(median(hours_to_resolve), 2) as median_hours_to_resolve,
  round(quantile_cont(hours_to_resolve, 0.9), 2) as p90_hours_to_resolve
from {{ ref('incident_facts') }}
group by opened_month, assignment_group, priority
