-- Grain: channel (and `all`) × step of a visit, over the year. Visits that came at least so far; whoever ordered came all the way. `share` is
-- of the step before.
with visits as (
    select s.channel, s.position, s.orders
    from core__sessions as s
    cross join core__insight_terms as t
    where cast(s.started_at at time zone t.timezone as date) >= t.year_from
),

spread as (
    select channel, position, orders from visits
    union all
    select 'all' as channel, position, orders from visits
),

steps as (
    select step, min(position) as position from core__insight_steps group by step
    union all
    select 'order' as step, max(position) + 1 as position from core__insight_steps having count(*) > 0
),

reached as (
    select v.channel, s.step, s.position, sum(case when v.position >= s.position or v.orders > 0 then 1 else 0 end) as visits
    from spread as v
    cross join steps as s
    group by v.channel, s.step, s.position
),

-- a channel whose orders come from another system says nothing of orders
ordering as (
    select channel from spread group by channel having sum(orders) > 0
)

select
    r.channel, r.step, r.position, r.visits,
    cast(r.visits as double) / nullif(lag(r.visits) over (partition by r.channel order by r.position), 0) as share
from reached as r
left join ordering as o on o.channel = r.channel
where r.step <> 'order' or o.channel is not null
