-- How many incidents were open, by priority and age: at the end of each month, and now (the newest plan).

with today as (
  select max(as_of) as as_of, min(opened_at) as first_opened
  from {{ ref('incident_facts') }}
),

moments as (
  select month_end as taken_at, false as is_now
  from today, unnest(generate_series(date_trunc('month', first_opened) + interval 1 month, as_of, interval 1 month)) as each(month_end)
  where month_end < as_of
  union all
  select as_of, true
  from today
  where as_of is not null
),

open_then as (
  select
    moments.taken_at,
    moments.is_now,
    facts.priority,
    facts.priority_name,
    epoch(moments.taken_at - facts.opened_at) / 86400 as days
  from moments
  join {{ ref('incident_facts') }} as facts
    on facts.opened_at < moments.taken_at
    and (facts.ended_at is null or facts.ended_at > moments.taken_at)
)

select
  taken_at,
  is_now,
  priority,
  max(priority_name) as priority_name,
  case when days < 1 then 1 when days < 7 then 2 when days < 30 then 3 when days < 90 then 4 else 5 end as age_order,
  case
    when days < 1 then 'under 1 day' when days < 7 then '1 to 7 days' when days < 30 then '7 to 30 days'
    when days < 90 then '30 to 90 days' else 'over 90 days'
  end as age,
  count(*) as incidents,
  round(avg(days), 2) as mean_days
from open_then
group by taken_at, is_now, priority, age_order, age
