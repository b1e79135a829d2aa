-- How many incidents were opened, resolved and closed: by day, priority and category.

with events as (
  select opened_at::date as day, priority, priority_name, category, category_name, 1 as opened, 0 as resolved, 0 as closed
  from {{ ref('incident_facts') }}
  where opened_at is not null
  union all
  select resolved_at::date, priority, priority_name, category, category_name, 0, 1, 0
  from {{ ref('incident_facts') }}
  where resolved_at <= as_of
  union all
  select closed_at::date, priority, priority_name, category, category_name, 0, 0, 1
  from {{ ref('incident_facts') }}
  where closed_at <= as_of
)

select
  day,
  date_trunc('month', day)::date as month,
  priority,
  max(priority_name) as priority_name,
  category,
  max(category_name) as category_name,
  sum(opened)::bigint as opened,
  sum(resolved)::bigint as resolved,
  sum(closed)::bigint as closed
from events
group by day, priority, category
