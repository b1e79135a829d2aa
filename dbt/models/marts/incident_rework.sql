-- How often incidents came back or changed hands, by the month they were opened in, group and priority.

select
  opened_month,
  assignment_group,
  max(assignment_group_name) as assignment_group_name,
  priority,
  max(priority_name) as priority_name,
  count(*) as incidents,
  count(*) filter (reopens > 0) as reopened,
  sum(reopens)::bigint as reopens,
  count(*) filter (reassignments > 0) as reassigned,
  sum(reassignments)::bigint as reassignments,
  round(count(*) filter (reopens > 0) / count(*), 4) as reopen_rate,
  round(count(*) filter (reassignments > 0) / count(*), 4) as reassignment_rate
from {{ ref('incident_facts') }}
group by opened_month, assignment_group, priority
