-- How many of the incidents that ended kept their SLAs, by the month they ended in, group and priority.

select
  date_trunc('month', ended_at)::date as ended_month,
  assignment_group,
  max(assignment_group_name) as assignment_group_name,
  priority,
  max(priority_name) as priority_name,
  count(*) as incidents,
  count(*) filter (made_sla) as kept,
  count(*) filter (not made_sla) as breached,
  round(count(*) filter (made_sla) / nullif(count(made_sla), 0), 4) as kept_rate
from {{ ref('incident_facts') }}
where not is_open
group by ended_month, assignment_group, priority
