-- Grain: visit of a customer (known or not) to a channel: events with less silence between them than `session_minutes`. `position` is
-- the furthest step of insight.yaml's funnel that it reached, `orders` what was ordered in it.
with events as (
    select
        c.customer_id, i.source as channel, i.occurred_at, greatest(coalesce(k.position, 0), coalesce(n.position, 0)) as position, 0 as orders
    from core__interactions as i
    join core__record_customers as c on c.record_id = i.record_id
    cross join core__insight_terms as t
    left join core__insight_steps as k on k.name = i.kind
    left join core__insight_steps as n on n.name = json_extract_string(i.details, '$.page')
    where i.occurred_at <= t.as_of and (k.name is not null or n.name is not null)
),

visited as (
    select distinct channel from events
),

everything as (
    select customer_id, channel, occurred_at, position, orders from events
    union all
    select c.customer_id, o.source as channel, o.ordered_at as occurred_at, 0 as position, 1 as orders
    from core__orders as o
    join core__record_customers as c on c.record_id = o.record_id
    join visited as v on v.channel = o.source
    cross join core__insight_terms as t
    where o.kind = 'sale' and o.ordered_at <= t.as_of
),

gaps as (
    select
        e.customer_id, e.channel, e.occurred_at, e.position, e.orders,
        case
            when date_diff('second', lag(e.occurred_at) over (partition by e.customer_id, e.channel order by e.occurred_at, e.position, e.orders), e.occurred_at) <= 60 * t.session_minutes
                then 0
            else 1
        end as is_first
    from everything as e
    cross join core__insight_terms as t
),

numbered as (
    select
        customer_id, channel, occurred_at, position, orders,
        sum(is_first) over (partition by customer_id, channel order by occurred_at, position, orders rows between unbounded preceding and current row) as session
    from gaps
)

select
    customer_id, channel, session, min(occurred_at) as started_at, max(occurred_at) as ended_at, count(*) as events,
    max(position) as position, sum(orders) as orders
from numbered
group by customer_id, channel, session
