-- Grain: one row. Days without a purchase that count as churn: what nine in ten gaps between two purchases of a customer do not
-- reach, in whole weeks between 4 and 26, unless insight.yaml sets it.
with days as (
    select distinct customer_id, day from core__purchase_days where orders > 0
),

gaps as (
    select date_diff('day', lag(day) over (partition by customer_id order by day), day) as gap from days
),

counted as (
    select gap, count(*) as n from gaps where gap is not null group by gap
),

ranked as (
    select gap, sum(n) over (order by gap rows between unbounded preceding and current row) as upto, sum(n) over () as gaps from counted
),

found as (
    select min(case when upto >= 0.9 * gaps then gap end) as gap, max(gaps) as gaps from ranked
)

select
    case when t.horizon_days > 0 then t.horizon_days else least(182, greatest(28, cast(ceil(coalesce(f.gap, 91) / 7.0) as integer) * 7)) end as days,
    coalesce(f.gap, 0) as ninetieth_gap, coalesce(f.gaps, 0) as gaps
from found as f
cross join core__insight_terms as t
