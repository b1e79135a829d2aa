{{ config(materialized = 'view') }}
-- One row per incident that is there, typed. Times are UTC.

select
  {{- select_named('incidents') }}
from {{ ref('incidents_current') }}
where _state = 'live'
